"""Reading a container's log: the last entries, all of them, or those to come.

`cgagent.runtime.logs.json_file` may rotate it at any moment. A reader keeps its file open, and
leaves it for the next newer one only when that is there and this one is read to its end: renamed or
removed, nothing is written to it any more. So no entry is missed, but those of files that were
removed before the reader came to them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.runtime.logs import files as logfiles
from cgagent.runtime.logs.files import OpenFile
from cgagent.runtime.logs.json_file import timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

_BATCH_BYTES: Final = 32 * 1024
"""Read, checked and sent in one go: 2 ms of a thread's time."""
_STRETCH: Final = 8
"""Batches that are read at a stretch, before any of them is sent."""
_POLL_S: Final = 0.1
_LINES: Final = 1000
"""Read backwards at a stretch: 4 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    streams: frozenset[str] = frozenset({"stdout", "stderr"})
    tail: int | None = None
    """Only so many entries from the end; None: all."""
    follow: bool = False
    since_ns: int = 0
    until_ns: int | None = None

    def accepts(self, line: bytes) -> bool:
        """Whether it is an entry that was asked for, and not one that a full disk cut short."""
        try:
            return self._wants(json.loads(line))
        except ValueError:
            return False

    def accepted(self, lines: list[bytes]) -> list[bytes]:
        """Those of many; they are parsed in one go, which takes a third of the time."""
        try:
            entries = json.loads(b"[%b]" % b",".join(lines))
        except ValueError:
            entries = []
        if len(entries) != len(lines):  # one was cut short
            return [line for line in lines if self.accepts(line)]
        wants = self._wants
        return [line for line, entry in zip(lines, entries, strict=True) if wants(entry)]

    def _wants(self, entry: object) -> bool:
        if not isinstance(entry, dict) or entry.get("stream") not in self.streams:
            return False
        if not self.since_ns and self.until_ns is None:
            return True
        when = str(entry.get("time"))  # of one length: the order of texts is that of times
        if self.since_ns and when < timestamp(self.since_ns):
            return False
        return self.until_ns is None or when <= timestamp(self.until_ns)

    def is_over(self) -> bool:
        """Nothing that comes now is wanted."""
        return self.until_ns is not None and time.time_ns() > self.until_ns


def _files(path: str) -> list[tuple[str, int]]:
    """The files of a log and their inodes, oldest first, as they are named at the moment."""
    found = []
    for _, names in sorted(logfiles.numbered(path).items(), reverse=True):
        try:
            found.append((names[0], os.stat(names[0]).st_ino))
        except FileNotFoundError:  # being rotated
            continue
    return found


def _position(files: list[tuple[str, int]], current: OpenFile) -> int | None:
    """Where it is among them; also as what it has been compressed to. None: it is removed."""
    identity = current.identity()
    inodes = [inode for _, inode in files]
    if identity[0] in inodes:
        return inodes.index(identity[0])
    for position, (name, inode) in enumerate(files):
        if name.endswith(logfiles.COMPRESSED):
            file = _opened(name, inode)
            if file is not None:
                file.close()
                if file.origin == identity:
                    return position
    return None


def _open_beside(path: str, current: OpenFile | None, step: int) -> OpenFile | None:
    """The next newer file (`step` 1) or older one (-1); without `current` the first such.

    One that is removed has the oldest as its next newer. None: there is none.
    """
    while True:
        files = _files(path)
        position = _position(files, current) if current else None
        if position is not None:
            position += step
        elif step > 0:
            position = 0
        else:  # before one that is removed there is nothing
            position = -1 if current else len(files) - 1
        if not 0 <= position < len(files):
            return None
        name, wanted = files[position]
        file = _opened(name, wanted)
        if file is not None and _files(path) == files:
            return file
        if file is not None:  # a rotation came between: look again
            file.close()


def _opened(path: str, inode: int) -> OpenFile | None:
    """None if it is another file by now."""
    try:
        file = OpenFile(path)
    except FileNotFoundError:
        return None
    if file.identity()[0] == inode:
        return file
    file.close()
    return None


class Reader:
    """Complete lines from a position on; an incomplete last one waits for its rest."""

    def __init__(self, path: str, file: OpenFile, query: LogQuery) -> None:
        self._path = path
        self._file = file
        self._next: OpenFile | None = None
        self._query = query
        self._rest = b""

    def close(self) -> None:
        self._file.close()
        if self._next:
            self._next.close()

    @property
    def place(self) -> tuple[int, int]:
        """How far it has come: a file's inode, and how many bytes of it, in whole lines."""
        return self._file.identity()[0], self._file.tell() - len(self._rest)

    def batch(self) -> list[bytes] | None:
        """Lines of the next piece of the log; None at its present end."""
        while not (data := self._file.read(_BATCH_BYTES)):
            if self._file.was_emptied():
                self._file.seek(0)
                self._rest = b""
                continue
            if self._next is None:
                self._next = _open_beside(self._path, self._file, 1)
                if self._next is None:
                    return None
            else:  # read to its end after its successor was there
                self._file.close()
                self._file, self._next, self._rest = self._next, None, b""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return self._query.accepted(lines)

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """To the present end, with the event loop let in between them.

        A thread reads: a directory is locked while the supervisor rotates, for as long as a disk
        that is busy with an image takes; and to parse what a flood has written is much work.
        """
        while self._has_more():
            batches = await in_thread(lambda _: self._stretch())
            for lines in batches:
                yield lines
                await asyncio.sleep(0)
            if len(batches) < _STRETCH:
                return

    def _stretch(self) -> list[list[bytes]]:
        """The next ones; fewer than `_STRETCH` at the present end."""
        found: list[list[bytes]] = []
        while len(found) < _STRETCH and (lines := self.batch()) is not None:
            found.append(lines)
        return found

    def _has_more(self) -> bool:
        """Whether there may be something to read: asked of what the kernel has in memory."""
        if self._next is not None or self._file.is_compressed:
            return True
        status = os.fstat(self._file.raw.fileno())
        if status.st_size != self._file.tell():
            return True
        try:
            return os.stat(self._path).st_ino != status.st_ino
        except FileNotFoundError:  # it is being rotated, or the container is gone
            return True


def _lines_backwards(file: OpenFile) -> Iterator[tuple[int, bytes]]:
    """Lines of a plain file from the last to the first, each with its offset."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    while position > 0:
        size = min(_BATCH_BYTES, position)
        position -= size
        block = os.pread(file.raw.fileno(), size, position) + rest
        rest, *lines = block.split(b"\n")
        offset = position + len(block)
        for line in reversed(lines):
            offset -= len(line)
            yield offset, line
            offset -= 1
    yield 0, rest


async def _seek(file: OpenFile, query: LogQuery, count: int) -> int:
    """Go to the last `count` entries; of how many there are too few."""
    for number, (offset, line) in enumerate(_lines_backwards(file), 1):
        count -= query.accepts(line)
        if count == 0:
            file.seek(offset)
            break
        if number % _LINES == 0:
            await asyncio.sleep(0)
    return count


async def _seek_compressed(file: OpenFile, query: LogQuery, count: int) -> int:
    """As `_seek`, by reading all of it: it has no other end than its last."""
    offset, rest = 0, b""
    begins: deque[int] = deque(maxlen=min(count, sys.maxsize))
    while data := file.read(_BATCH_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if query.accepts(line):
                begins.append(offset)
            offset += len(line) + 1
        await asyncio.sleep(0)
    if len(begins) == count:
        file.seek(begins[0])
    return count - len(begins)


async def _open_at_tail(path: str, query: LogQuery, count: int) -> OpenFile | None:
    """The file that the last `count` entries begin in, at the first of them."""
    file = _open_beside(path, None, -1)
    if file is not None and count == 0:
        file.seek(0, os.SEEK_END)
        return file
    while file is not None:
        count = await (_seek_compressed if file.is_compressed else _seek)(file, query, count)
        if count == 0:
            return file
        older = _open_beside(path, file, -1)
        if older is None:
            file.seek(0)
            return file
        file.close()
        file = older
        await asyncio.sleep(0)
    return None


async def opened(path: str, query: LogQuery) -> Reader | None:
    """One at the first entry that is asked for; None: nothing was ever logged."""
    if not os.path.exists(path):  # nothing has run yet
        return None
    if query.tail is None:
        file = _open_beside(path, None, 1)
    else:
        file = await _open_at_tail(path, query, query.tail)
    return None if file is None else Reader(path, file, query)


async def follow(
    path: str, query: LogQuery, running: Callable[[], bool]
) -> AsyncGenerator[list[bytes]]:
    """Batches of entries, a line of JSON each.

    With `query.follow` until the container has ended and all is read.
    """
    reader = await opened(path, query)
    if reader is None:
        return
    try:
        async for lines in reader.batches():
            yield lines
        while query.follow:
            ended = not running() or query.is_over()
            async for lines in reader.batches():
                yield lines
            if ended:
                return
            await asyncio.sleep(_POLL_S)
    finally:
        reader.close()
