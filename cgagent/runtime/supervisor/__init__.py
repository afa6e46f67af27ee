"""The supervisor and its keeper: the processes that every container's first process descends from.

They import the standard library, `cgagent.errors`, `cgagent.kernel`, the protocol and their own
modules: an agent may be killed, upgraded or broken, and containers go on.
"""
