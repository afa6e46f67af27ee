"""Every message between agent, supervisor, keeper and zygotes, as a frozen record.

    outcomes    why something failed, and how a process ended
    jobs        what a zygote is to become
    agent       agent <-> supervisor: `Ask`, `Answer`, and events
    zygote      what a zygote reports to the supervisor
    held        supervisor <-> keeper: what outlives the supervisor
    create      `cgagent oci create` <-> its child, and the child that opens files under mapped ids

What a record is, and how it is sent: `cgagent.messages`. In which order they are said is drawn in
`cgagent.runtime.protocol`. A `dict[str, Any]` in a record is a JSON document of another's
specification: an OCI configuration, or a part of one. Only what a process needs is imported: it may
be a bare interpreter that has a few milliseconds to start.
"""
