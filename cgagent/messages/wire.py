"""Packets with descriptors over a SOCK_SEQPACKET socket, one message each."""

from __future__ import annotations

import array
import os
import socket
from typing import TYPE_CHECKING, Final, TypeVar

from cgagent.errors import InternalError
from cgagent.messages.record import Message, MessageError, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M", bound=Message)

MAX_PACKET: Final = 128 * 1024
"""Below the kernel's default socket buffer. What may be larger (an OCI configuration) is a file."""

_MAX_FDS: Final = 253  # the kernel's
_BUFFER: Final = 2 * MAX_PACKET


def send(
    sock: socket.socket, message: Message, fds: Sequence[int] = (), limit: int = MAX_PACKET
) -> None:
    """One packet. Blocks or raises `BlockingIOError` as the socket is set.

    Raises:
        InternalError: it is larger than a packet may be; the connection is as before.
    """
    send_packed(sock, pack(message, limit), fds)


def pack(message: Message, limit: int = MAX_PACKET) -> bytes:
    """A message as it is sent. Raises InternalError: it is larger than a packet may be."""
    data = encode(message)
    if len(data) > limit:
        raise InternalError(f"a message of {len(data)} bytes does not fit a packet ({limit})")
    return data


def send_packed(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, *kinds: type[M], peek: bool = False) -> tuple[M, list[int]] | None:
    """The next message and the descriptors that came with it (close-on-exec), None at the end.

    With `peek` it stays the next one, and the descriptors are further copies.

    Raises:
        MessageError: it is none of these `kinds`; its descriptors are closed.
    """
    space = socket.CMSG_SPACE(_MAX_FDS * 4)
    how = socket.MSG_CMSG_CLOEXEC | (socket.MSG_PEEK if peek else 0)
    data, ancillary, flags, _ = sock.recvmsg(_BUFFER, space, how)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise MessageError("a message was cut off")
        message: M | None = decode(data, *kinds) if data else None
    except MessageError:
        _close(fds)
        raise
    if message is None:
        _close(fds)
        return None
    return message, list(fds)


def _close(fds: array.array[int]) -> None:
    for fd in fds:
        os.close(fd)
