"""Published ports at [::1]: connections and datagrams that are relayed to containers.

All other addresses of the host are translated by the firewall (`cgagent.network.ruleset`); the
kernel drops what it would translate from ::1, so somebody must take it and pass it on. That is the
names process (`cgagent.network.names.main`), which has no privileges and outlives the agent: the
socket that keeps the port (`cgagent.network.ports`) is sent to it, as containers' sockets are.

A container with an IPv6 address is reached there, another one by IPv4; it sees the host's address.

    ports       `Relays`, all in the process, of which it makes each when the agent says so
    streams     TCP: connections, bounded in number, each with a piece in each direction
    datagrams   UDP: a socket to the container for each client that was heard lately
"""
