"""The runtime: an OCI configuration and a root file system become a running process.

Two processes share this package. The agent uses `native` (its end of the protocol), `spec` and
`logs`. The supervisor runs `supervisor` and everything below it with the standard library only.

    agent ── native ──(SOCK_SEQPACKET, protocol)── supervisor ── task ── zygote ── steps ── exec
"""

OCI_VERSION = "1.2.0"
"""Of the runtime specification."""
