"""File descriptors as a whole: which survive a fork or an exec."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CLOSE_RANGE_CLOEXEC: Final = 4
_MAX: Final = 0xFFFFFFFF


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor >= `first` close-on-exec. Since kernel 5.11."""
    libc.syscall(libc.SYS_close_range, first, _MAX, _CLOSE_RANGE_CLOEXEC)


def close_all_but(keep: Iterable[int]) -> None:
    """Close every other descriptor. Since kernel 5.9."""
    first = 0
    for fd in sorted(keep):
        if fd > first:
            libc.syscall(libc.SYS_close_range, first, fd - 1, 0)
        first = fd + 1
    libc.syscall(libc.SYS_close_range, first, _MAX, 0)


@contextmanager
def as_socket(fd: int) -> Iterator[socket.socket]:
    """A socket object for a descriptor that stays the caller's; for sending and receiving only.

    What kind of socket it is does not matter for that: to find out takes three system calls.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)
    try:
        yield sock
    finally:
        sock.detach()
