"""The command line: a client of the agent's HTTP API, without state of its own.

Its modules are imported on dispatch, so that ``--help``, ``version`` and ``run`` load little more
than argparse, json and socket.
"""
