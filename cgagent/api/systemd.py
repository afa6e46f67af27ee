"""What systemd expects of a service: sockets it may hand over, readiness and signs of life.

sd_listen_fds(3) and sd_notify(3) in their plain forms; outside of systemd nothing of it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Final

_FIRST_FD: Final = 3


def inherited() -> list[socket.socket]:
    """What a socket unit has bound, in its order; it is systemd's and stays when we go."""
    if os.environ.pop("LISTEN_PID", None) != str(os.getpid()):
        return []
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    os.environ.pop("LISTEN_FDNAMES", None)
    found = []
    for fd in range(_FIRST_FD, _FIRST_FD + count):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if sock.type == socket.SOCK_STREAM:
            found.append(sock)
        else:
            sock.close()
    return found


def notify(state: str, *, wait: bool = True) -> None:
    """Tell the service manager, if there is one; without `wait` only if it takes it now."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(wait)
            with contextlib.suppress(BlockingIOError):
                sock.sendto(state.encode(), address.replace("@", "\0", 1))


async def keep_watchdog() -> None:
    """A sign of life at half of WatchdogSec=, for as long as the event loop goes round."""
    usec = int(os.environ.get("WATCHDOG_USEC", "0"))
    while usec:
        notify("WATCHDOG=1", wait=False)  # it has not read the last ones yet
        await asyncio.sleep(usec / 2 / 1e6)
