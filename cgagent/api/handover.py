"""A restart in place: the agent's process becomes the next agent, and keeps what it listens on.

SIGUSR2 asks for it. What is being answered is finished, the process starts itself anew with the
same arguments, and whoever connects meanwhile waits in the kernel's queue of a socket that was
never closed. The environment tells the next agent which descriptors these are; it takes those for
the addresses that it is to listen on, and closes the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIABLE: Final = "CGAGENT_LISTENERS"
TOLD_LATER: Final = (signal.SIGHUP, signal.SIGUSR2)
"""Signals that mean nothing to an agent which has only just begun, and would end it."""


def wait_with_signals() -> None:
    """Until the event loop takes them. A child does not inherit this, as it would ignoring them."""
    for number in TOLD_LATER:
        signal.signal(number, lambda *_: None)


class Kept:
    """Listening sockets that the agent before has left, for ``with``, which closes the rest."""

    def __init__(self) -> None:
        """Those that the environment tells of."""
        told = os.environ.pop(_VARIABLE, "")
        self.is_restart = bool(told)
        self._ours: dict[Any, socket.socket] = {}
        self.from_systemd: list[socket.socket] = []
        """Those that systemd has bound, in its order; nobody else may close them."""
        for fd, is_systemds in json.loads(told or "[]"):
            os.set_inheritable(fd, False)
            sock = socket.socket(fileno=fd)
            if is_systemds:
                self.from_systemd.append(sock)
            else:
                self._ours[_address(sock)] = sock

    def take(self, address: str | tuple[str, int]) -> socket.socket | None:
        """The one bound to a path, or to a host and a port; None: there is none."""
        return self._ours.pop(address, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for address, sock in self._ours.items():
            sock.close()
            if isinstance(address, str):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(address)
        self._ours.clear()


def _address(sock: socket.socket) -> str | tuple[str, int]:
    name: Any = sock.getsockname()
    return name if isinstance(name, str) else (name[0], name[1])


class Restart:
    """What the next agent will be left: copies of sockets, which servers may close."""

    def __init__(self) -> None:
        self.is_asked_for = False
        self.held: contextlib.ExitStack | None = None
        """What must not be let go of before the process has started anew."""
        self._copies: list[tuple[int, bool]] = []

    def ask(self, ours: Iterable[socket.socket], from_systemd: Iterable[socket.socket]) -> None:
        """While all of them are open."""
        if not self.is_asked_for:
            self.is_asked_for = True
            for is_systemds, socks in ((False, ours), (True, from_systemd)):
                self._copies += [(os.dup(sock.fileno()), is_systemds) for sock in socks]

    def forget(self) -> None:
        """The agent is to end after all."""
        self.is_asked_for = False
        for fd, _ in self._copies:
            os.close(fd)
        self._copies.clear()
        if self.held is not None:
            self.held.close()

    def go(self) -> NoReturn:
        """Become the next agent; all of this one has ended."""
        for number in TOLD_LATER:  # which the next agent heeds again in `wait_with_signals`
            signal.signal(number, signal.SIG_IGN)
        for fd, _ in self._copies:
            os.set_inheritable(fd, True)
        os.environ[_VARIABLE] = json.dumps(self._copies)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself
