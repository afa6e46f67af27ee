"""Hostile clients of a listener: ``python flood.py KIND ADDRESS CONNECTIONS SECONDS UID``.

It becomes the user UID by itself, after the start: the interpreter and this file may lie where that
user cannot go. An address with a slash is a unix socket's path. It holds what it opened for so many
seconds and says how many of its connections the other side has closed by then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_NOBODY: Final = 65534
_CHUNK: Final = 64 * 1024
_PATHS: Final = {True: b"/v1/containers?all=true", False: b"/metrics"}


def _pipelines(path: bytes, _sent: int) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path * 200


def _half_requests(path: bytes, sent: int) -> bytes:
    return b"" if sent else b"GET %s HTTP/1.1\r\nHost: " % path


def _endless_header(path: bytes, sent: int) -> bytes:
    return b"y" * _CHUNK if sent else b"GET %s HTTP/1.1\r\nX: " % path


def _many_headers(path: bytes, sent: int) -> bytes:
    return b"A: b\r\n" * 4096 if sent else b"GET %s HTTP/1.1\r\n" % path


def _idle(_path: bytes, _sent: int) -> bytes:
    return b""


def _upgrade(line: bytes) -> bytes:
    return line + b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"


def _upgrade_body(_path: bytes, sent: int) -> bytes:
    if sent:
        return b"z" * _CHUNK
    return _upgrade(b"POST /v1/containers/victim/wait") + b"Content-Length: 2000000000\r\n\r\n"


def _upgrade_rest(_path: bytes, sent: int) -> bytes:
    if sent:
        return b"z" * _CHUNK
    return _upgrade(b"GET /v1/events?follow=true&since_ns=4000000000000000000") + b"\r\n"


KINDS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "pipelines": _pipelines,
    "half-requests": _half_requests,
    "endless-header": _endless_header,
    "many-headers": _many_headers,
    "idle": _idle,
    "upgrade-body": _upgrade_body,
    "upgrade-rest": _upgrade_rest,
}


class _Hostile:
    """One connection, which never reads."""

    def __init__(self, address: str, kind: str) -> None:
        unix = "/" in address
        self._more = KINDS[kind]
        self._path = _PATHS[unix]
        self._sent = 0
        self._left = b""
        self.closed = False
        host, _, port = address.rpartition(":")
        self.socket = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self.socket.setblocking(False)
        if (code := self.socket.connect_ex(address if unix else (host, int(port)))) not in {
            0,
            errno.EINPROGRESS,
        }:
            self.socket.close()
            raise OSError(code, "connect")

    def push(self) -> None:
        self._left = self._left or self._more(self._path, self._sent)
        try:
            count = self.socket.send(self._left) if self._left else 0
        except BlockingIOError:
            return
        except OSError:
            self.closed = True
            return
        self._sent += count
        self._left = self._left[count:]

    def look(self) -> None:
        """Whether the other side has closed, seen without taking what it has sent."""
        with contextlib.suppress(BlockingIOError):
            try:
                self.closed |= not self.socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                raise
            except OSError:
                self.closed = True


def flood(kind: str, address: str, count: int, seconds: float) -> int:
    """How many of `count` connections were closed by the other side; closed ones are replaced."""
    ended = 0
    until = time.monotonic() + seconds
    hostile: list[_Hostile] = []
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            while len(hostile) < count:
                hostile.append(_Hostile(address, kind))
        for one in hostile:
            one.push()
            one.look()
            if one.closed:
                one.socket.close()
        ended += sum(one.closed for one in hostile)
        hostile = [one for one in hostile if not one.closed]
        time.sleep(0.005)
    return ended


def command(kind: str, address: str, count: int, seconds: float) -> list[str]:
    """Nobody's flood of a port, or root's of a socket, which nobody else may open."""
    user = 0 if "/" in address else _NOBODY
    return [
        sys.executable,
        "-I",
        "-S",
        __file__,
        kind,
        address,
        str(count),
        str(seconds),
        str(user),
    ]


if __name__ == "__main__":
    ids = [int(sys.argv[5])] * 3
    os.setgroups([])
    os.setresgid(*ids)
    os.setresuid(*ids)
    print(flood(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
