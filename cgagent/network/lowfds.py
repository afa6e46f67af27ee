"""Descriptors below 1,024, kept from the agent's start for a library that waits by select(2).

The C library ends a process that gives select a higher one, and an agent with many containers has
thousands of descriptors open. They are the process's, as its descriptors are.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FD_SETSIZE: Final = 1024
_COUNT: Final = 8
_NETLINK_NETFILTER: Final = 12
_lock: Final = threading.Lock()
_kept: Final[list[int]] = []


def keep() -> None:
    """Keep a few that are free now; a second call does nothing."""
    with _lock:
        while len(_kept) < _COUNT:
            _kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def with_low_socket(make: Callable[[], T], undo: Callable[[T], object]) -> T | None:
    """What `make` returns, whose netfilter socket has a low descriptor.

    Another thread may take the one that is given up for it: then it is made once more. None: the
    last attempt's is too high as well, and was undone.
    """
    with _lock:
        while True:
            before = _low_sockets()
            if _kept:
                os.close(_kept.pop())
            made = make()
            if _low_sockets() - before:
                return made
            undo(made)
            if not _kept:
                return None


def _low_sockets() -> set[int]:
    """The netfilter sockets of this process whose descriptors select takes."""
    found = set()
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if descriptor < FD_SETSIZE and _is_netfilter(descriptor):
                found.add(descriptor)
        except OSError:  # closed meanwhile
            continue
    return found


def _is_netfilter(descriptor: int) -> bool:
    if not os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as same:
        return same.family == socket.AF_NETLINK and same.proto == _NETLINK_NETFILTER
