"""What waits in a network namespace for programs that do not run: connections, data, requests.

The kernel goes on for the sockets of tasks that are frozen: it accepts connections, and takes data.
Whoever is to be woken by the next packet must not be put to sleep on what has come before.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from cgagent.network import netlink
from cgagent.network.netlink import Message, NetlinkError
from cgagent.network.netns import in_network_of
from cgagent.network.rtnetlink import Route

_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
"""SOCK_DIAG_BY_FAMILY (linux/sock_diag.h)."""
_REQUEST: Final = struct.Struct("=BBBBI48x")  # inet_diag_req_v2: family, protocol, ext, states
_MESSAGE: Final = struct.Struct(
    "=BBBB48x4xIIII"
)  # inet_diag_msg: ..., bytes or connections to be read
_INFO: Final = 2
_ALL_STATES: Final = 0xFFF
_ESTABLISHED, _CLOSE_WAIT, _LISTEN = 1, 8, 10
"""A peer that has said all it will, as `_CLOSE_WAIT` tells, may still wait for an answer."""
_TIMES: Final = struct.Struct("=44xIII")  # tcp_info: last data sent, last ACK sent, last received
_SEGMENTS: Final = struct.Struct("=152xII")  # tcp_info: segments with data in and out (Linux 4.6)
_RECENT_MS: Final = 5_000
"""A peer that has said something this long ago without an answer may not want any."""
_JUST_NOW_MS: Final = 100
"""An answer may be in the middle of being given; the kernel's times are some milliseconds wide."""


def pending(netns_fd: int) -> str | None:
    """Why the programs of a network namespace must not stand still now, or None.

    "2 connections wait to be accepted", "data waits to be read", "a request has no answer yet":
    something was received in the last 5 s, and nothing sent since; "a connection was just in use":
    something was received or sent in the last 0.1 s, and may not be all.

    Raises:
        NotFoundError: the namespace is gone.
    """
    asking = in_network_of(netns_fd, _socket)
    try:
        causes = (
            _cause(body, is_tcp=protocol == socket.IPPROTO_TCP)
            for family in (socket.AF_INET, socket.AF_INET6)
            for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
            for body in _dumped(asking, family, protocol)
        )
        return next(filter(None, causes), None)
    finally:
        asking.close()


def _socket() -> Route:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    return Route(socket.socket(socket.AF_NETLINK, kind, _SOCK_DIAG))


def _dumped(asking: Route, family: int, protocol: int) -> list[bytes]:
    """None of a family or protocol that the kernel cannot list."""
    body = _REQUEST.pack(family, protocol, 1 << (_INFO - 1), 0, _ALL_STATES)
    try:
        answers = asking.dump(Message(_BY_FAMILY, body, what="list sockets"))
    except NetlinkError:
        return []
    return [answer.body for answer in answers if answer.kind == _BY_FAMILY]


def _cause(body: bytes, *, is_tcp: bool) -> str | None:
    _family, state, _timer, _retransmits, queued, *_ = _MESSAGE.unpack_from(body)
    if queued:
        if is_tcp and state == _LISTEN:
            return f"{queued} connection{'s wait' if queued > 1 else ' waits'} to be accepted"
        return "data waits to be read"
    if is_tcp and state in {_ESTABLISHED, _CLOSE_WAIT}:
        info = netlink.attributes(body[_MESSAGE.size :]).get(_INFO, b"")
        if len(info) >= _SEGMENTS.size:
            return _unanswered(info)
    return None


def _unanswered(info: bytes) -> str | None:
    """Of a connection's tcp_info. The times of one that has had no data are those of its start."""
    sent_ms, _acked_ms, received_ms = _TIMES.unpack_from(info)
    received, sent = _SEGMENTS.unpack_from(info)
    if received and received_ms < _RECENT_MS and (not sent or received_ms < sent_ms):
        return "a request has no answer yet"
    if (received or sent) and min(sent_ms, received_ms) < _JUST_NOW_MS:
        return "a connection was just in use"
    return None
