"""Logs of containers: the supervisor writes them as a log driver says, the agent reads them."""
