"""Packets with descriptors over a SOCK_SEQPACKET socket: JSON in, JSON out."""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InternalError
from cgagent.runtime.protocol import MAX_PACKET

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_FDS: Final = 253  # the kernel's
_BUFFER: Final = 2 * MAX_PACKET


def send(
    sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = (), limit: int = MAX_PACKET
) -> None:
    """One packet. Blocks or raises `BlockingIOError` as the socket is set.

    Raises:
        InternalError: it is larger than a packet may be; the connection is as before.
    """
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > limit:
        raise InternalError(f"a message of {len(data)} bytes does not fit a packet ({limit})")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, *, peek: bool = False) -> tuple[dict[str, Any], list[int]] | None:
    """The next packet and the descriptors that came with it (close-on-exec), None at the end.

    With `peek` it stays the next one, and the descriptors are further copies.
    A packet cut off or not an object is treated as the end: the two ends are of one version, so
    it can only be a broken peer.
    """
    space = socket.CMSG_SPACE(_MAX_FDS * 4)
    how = socket.MSG_CMSG_CLOEXEC | (socket.MSG_PEEK if peek else 0)
    data, ancillary, flags, _ = sock.recvmsg(_BUFFER, space, how)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    message = None
    if data and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        message = json.loads(data)
    if not isinstance(message, dict):
        for fd in fds:
            os.close(fd)
        return None
    return message, list(fds)
