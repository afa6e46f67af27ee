"""Names of containers on user-defined networks: a DNS server inside each container's namespace.

It answers at 127.0.0.11, port 53. The answers come from a small process of its own, which outlives
the agent as containers do:

    agent                                          names (unprivileged)        container
    client: sockets in the container's namespace,
            a rule that leads port 53 to them
    -- Put --------------------------------------> book: names
    -- Open, with both sockets ------------------> polls them     <-- query -- resolver
                                                   own names       -- answer ->
                                                   forwarding: the host's servers
    -- Remove ------------------------------------> closes them

Both have the sockets: when one is killed, the other goes on with them, or gives them to a
successor, and queries that come meanwhile wait in there. A query by UDP is taken off only when it
is answered.

Over one SOCK_SEQPACKET socket, one agent at a time; a new one takes over. It asks by `List`, which
is answered by a `Held` with the sockets for each container and `Listed`, and tells all members
between `Begin` and `Complete`. Nothing else is answered: the process reads all that came before it
answers a query, so that whoever asks after a `put` has returned sees it.

The process has no privileges and joins no namespace: sockets come to it open and bound.

    values      what the engine says of a container
    client      `Names`, the agent's end, and `process`, whom it talks to
    doorway     sockets and rule in a container's namespace
    messages    what the two say to each other
    main        the process; below it `door` a container's sockets, `connection` TCP, `answers` a
                query's answer, `book` all names, `forwarding` to `resolvers`, `packets` DNS's bytes
"""
