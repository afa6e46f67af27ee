"""`cgagent oci`: an OCI runtime on the command line, as runc is, over the same steps and processes.

It needs no agent: one process for each call. What is known of a container lies below ``--root``;
its first process outlives the caller and belongs to whoever reaps for it.
"""
