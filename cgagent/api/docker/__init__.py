"""Docker's Engine API: thin routes over the one engine, in docker's words and shapes.

One module for each of docker's routers; what an answer looks like is in `shapes`, what differs
between versions of the API in `versions`. All of it is imported with the first request for it.
"""
