"""Registries: where they are, how they are spoken to, and what is fetched from and sent to them.

`registries` is the whole for `cgagent.images.store`. Nothing here runs on the event loop but the
few lines that await threads.
"""
