"""inotify(7), which Python's standard library lacks: the kernel's word that a file has changed.

cgroup files that announce changes (memory.events, cgroup.events, pids.events) do so as
modifications. One descriptor serves any number of files and keeps none of them open.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MODIFY: Final = 0x2
CREATE: Final = 0x100
DELETE: Final = 0x200
OVERFLOW: Final = 0x4000

_MASK_ADD: Final = 0x20000000

_HEADER: Final = struct.Struct("=iIII")
_BUFFER: Final = 1 << 16


class Notice(NamedTuple):
    """`watch` is -1 with OVERFLOW: notices were lost. `name` is a directory's entry."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify descriptor; its maker closes it. Not blocking.

    Raises:
        OSError: no descriptors, or no watches left (fs.inotify.max_user_watches).
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._going: deque[int] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._remover = threading.Thread(target=self._remove_all, name="inotify", daemon=True)
        self._remover.start()

    def add(self, path: str, mask: int) -> int:
        """A watch's number; the same again for the same file, which is then watched for both."""
        name, wanted = os.fsencode(path), ctypes.c_uint32(mask | _MASK_ADD)
        with self._changed:  # a watch may not go between the call and the look at those that go
            while True:
                number = self._libc.inotify_add_watch(self.fd, name, wanted)
                self._checked(number, path)
                if number not in self._going:
                    return int(number)
                while number in self._going:
                    self._changed.wait()

    def remove(self, watch: int) -> None:
        """Soon: the kernel takes 5 ms for it, which a thread waits for.

        Notices of the watch may still come. One whose file has gone is fine.
        """
        with self._changed:
            self._going.append(watch)
            self._changed.notify_all()

    def _remove_all(self) -> None:
        while True:
            with self._changed:
                while not (self._going or self._closed):
                    self._changed.wait()
                if self._closed:
                    return  # all watches go with the descriptor
                watch = self._going[0]
            self._libc.inotify_rm_watch(self.fd, watch)
            with self._changed:
                self._going.popleft()
                self._changed.notify_all()

    def read(self) -> Iterator[Notice]:
        """What has happened since the last reading."""
        while True:
            try:
                data = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                return
            yield from _parsed(data)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._remover.join()
        os.close(self.fd)

    @staticmethod
    def _checked(result: int, what: str) -> int:
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), what)
        return result


def _parsed(data: bytes) -> Iterator[Notice]:
    at = 0
    while at < len(data):
        watch, mask, _cookie, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        name = data[at : at + length].rstrip(b"\0")
        at += length
        yield Notice(watch, mask, os.fsdecode(name))
