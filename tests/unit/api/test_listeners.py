"""The sockets that the agent listens on."""

import socket

from cgagent.api.handover import Kept
from cgagent.api.listeners import tcp_listener


def test_what_a_connection_sends_does_not_wait_for_what_was_sent_before():
    with (
        Kept() as kept,
        tcp_listener("127.0.0.1:0", "--listen", kept) as sock,
        socket.create_connection(sock.getsockname()),
        sock.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
