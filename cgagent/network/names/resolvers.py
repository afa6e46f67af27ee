"""The host's name servers, as they are at the moment."""

from __future__ import annotations

import ipaddress
import os
from typing import Final

from cgagent.network.names import descriptors

MAX: Final = 3
"""Servers that are asked, as libc does it."""
FILE: Final = "/etc/resolv.conf"
RESOLVED: Final = "/run/systemd/resolve/resolv.conf"
"""The servers behind systemd-resolved's stub."""
_STUB: Final = ("127.0.0.53", "127.0.0.54")


class HostResolvers:
    """Reads the files again when they have changed, whenever it is asked."""

    def __init__(self, file: str = FILE, resolved: str = RESOLVED) -> None:
        self._files = (file, resolved)
        self._seen: tuple[object, ...] = ()
        self._servers: tuple[str, ...] = ()

    def servers(self) -> tuple[str, ...]:
        seen = tuple(map(_state, self._files))
        if seen != self._seen:
            self._servers, self._seen = self._read(), seen
        return self._servers

    def _read(self) -> tuple[str, ...]:
        file, resolved = self._files
        servers = _servers(file)
        if servers and all(server in _STUB for server in servers):
            return _servers(resolved) or servers
        return servers


def usable(servers: tuple[str, ...]) -> tuple[str, ...]:
    """The first ones that are addresses."""
    return tuple(server for server in servers if _is_address(server))[:MAX]


def _servers(path: str) -> tuple[str, ...]:
    """Those of a file in the form of resolv.conf(5)."""
    try:
        with descriptors.every(), open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return ()
    return usable(tuple(w[1] for w in lines if w[:1] == ["nameserver"] and w[1:]))


def _state(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
