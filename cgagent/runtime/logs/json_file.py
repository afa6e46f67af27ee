r"""A container's log in Docker's json-file format, so that existing log shippers read it.

One JSON object a line: ``{"log":"text\n","stream":"stdout","time":"..."}``. A line of output
longer than 16 KiB becomes several entries, all but the last without a newline. With a limit, a
full file becomes ``NAME.1``, that one ``NAME.2``, and so on; an entry is never split over files.
The supervisor writes; `cgagent.runtime.logs.reader` reads.

For a writer that may be killed: `append` never rotates, and `rotate` writes nothing. Whoever notes
`mark` and how much of a piece is taken before each of the two can have a successor `rewind` and
write the rest of the piece: nothing is lost or there twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError
from cgagent.runtime.protocol import STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LINE: Final = 16 * 1024
_LONGEST_CHARACTER: Final = 4
STREAM_NAMES: Final = {STDOUT: "stdout", STDERR: "stderr"}
PIECE_BYTES: Final = 16 * 1024
_SMALLEST_PIECE_BYTES: Final = 256
_BLOCK_BYTES: Final = 4 * 1024
_PREFIX: Final = '{"log":"'


def timestamp(now_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def entries(text: bytes) -> Iterator[bytes]:
    """The lines of `text`, long ones in pieces; what has no newline and is short comes last."""
    begin = 0
    while begin < len(text):
        end = text.find(b"\n", begin, begin + MAX_LINE) + 1 or _piece_end(text, begin)
        yield text[begin:end]
        begin = end


def _piece_end(text: bytes, begin: int) -> int:
    """Of a long line: before a UTF-8 character that would be cut in two, which the next has."""
    end = begin + MAX_LINE
    if end > len(text):
        return len(text)
    for back in range(1, _LONGEST_CHARACTER):
        byte = text[end - back]
        if byte < 0x80:  # noqa: PLR2004 - ASCII
            break
        if byte >= 0xC0:  # noqa: PLR2004 - a character begins here
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)  # noqa: PLR2004
            return end if back >= length else end - back
    return end


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a log stands: the size of its file, and the line of a stream that is not complete."""

    offset: int
    held: bytes


class LogFile:
    """The writing end. Holds the file open; what cannot be written is counted, not kept.

    Args:
        max_bytes: a file that has so many is full; None: it never is.
        max_files: how many there are with the one being written.
        attributes: what stands in every entry under ``attrs``.
        compress: files that are rotated away may be compressed, by the agent.
    """

    __slots__ = (
        "_attrs",
        "_compress",
        "_fd",
        "_held",
        "_max_bytes",
        "_max_files",
        "_path",
        "_size",
        "dropped_bytes",
    )

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int | None = None,
        max_files: int = 1,
        attributes: Mapping[str, str] | None = None,
        compress: bool = False,
    ) -> None:
        self._path = path
        self._compress = compress
        self._attrs = f',"attrs":{json.dumps(attributes)}' if attributes else ""
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._held: dict[int, bytes] = {}
        self._fd = _open(path)
        self._size = os.fstat(self._fd).st_size
        self.dropped_bytes = 0

    def fileno(self) -> int:
        return self._fd

    @property
    def piece_bytes(self) -> int:
        """How much to give to `append` at a time: bounds what a turn of the writer takes."""
        if self._max_bytes is None:
            return PIECE_BYTES
        # short lines grow 40 times: so that a piece makes a few rotations at most
        return min(PIECE_BYTES, max(_SMALLEST_PIECE_BYTES, self._max_bytes // 16))

    @property
    def is_full(self) -> bool:
        if self._max_bytes is None or self._size < self._max_bytes:
            return False
        self._size = os.fstat(self._fd).st_size  # somebody may have emptied it
        return self._size >= self._max_bytes

    def mark(self, stream: int) -> Mark:
        return Mark(self._size, self._held.get(stream, b""))

    def rewind(self, stream: int, mark: Mark) -> None:
        """Be as a predecessor was at its `mark`; the file may have been rotated since."""
        if self._size > mark.offset:
            os.ftruncate(self._fd, mark.offset)
            self._size = mark.offset
        self._held[stream] = mark.held

    def since(self, inode: int, offset: int, limit: int) -> Iterator[tuple[int, bytes]]:
        """The entries after a place in the file, and what is held back of each stream.

        Raises:
            ConflictError: the place is in another file, or more than `limit` bytes before its end.
        """
        status = os.fstat(self._fd)
        if status.st_ino != inode or not 0 <= status.st_size - offset <= limit:
            raise ConflictError(f"log {self._path} has moved on; read it again")
        with open(f"/proc/self/fd/{self._fd}", "rb") as file:  # ours is for writing
            file.seek(offset)
            lines = file.read(limit).split(b"\n")
        numbers = {name: number for number, name in STREAM_NAMES.items()}
        for line in lines:
            with contextlib.suppress(ValueError, LookupError):  # cut short by a full disk
                entry = json.loads(line)
                yield numbers[entry["stream"]], entry["log"].encode("utf-8", "replace")
        yield from ((stream, held) for stream, held in self._held.items() if held)

    def write(self, stream: int, data: bytes) -> None:
        """Log a piece of output, in as many files as it takes."""
        taken = 0
        while taken < len(data):
            if self.is_full:
                self.rotate()
            taken += self.append(stream, data[taken:])

    def append(self, stream: int, data: bytes) -> int:
        """Log output until the file is full; how many bytes were taken, never none.

        The end of a line that has not come yet is taken, and held back.
        """
        held = self._held.pop(stream, b"")
        text = held + data
        tail = self._tail(stream)
        written = self._append_lines(text, tail)
        rest = text[written:]
        if len(rest) < MAX_LINE and b"\n" not in rest:
            self._held[stream] = rest
            written = len(text)
        return written - len(held)

    def _tail(self, stream: int) -> str:
        """What follows the text of an entry."""
        now = timestamp(time.time_ns())
        return f'","stream":"{STREAM_NAMES[stream]}"{self._attrs},"time":"{now}"}}\n'

    def _append_lines(self, text: bytes, tail: str) -> int:
        """How much of the text is in the file now."""
        room = None if self._max_bytes is None else self._max_bytes - self._size
        out = bytearray()
        taken = 0
        for block in _blocks(text):
            encoded = _encode_block(block, tail)
            if room is None or len(out) + len(encoded) < room:
                out += encoded
                taken += len(block)
                continue
            for entry in entries(block):
                out += _encode(entry, tail)
                taken += len(entry)
                if len(out) >= room:
                    self._write_all(out)
                    return taken
        self._write_all(out)
        return taken

    def rotate(self) -> None:
        """Begin a new file. Where that cannot be made the old one grows on."""
        new = self._path + ".new"
        try:
            fd = _open(new, os.O_TRUNC)
        except OSError:
            return
        try:
            self._rename(new)
        except OSError:
            os.close(fd)
            return
        os.close(self._fd)
        self._fd = fd
        self._size = 0

    def _rename(self, new: str) -> None:
        if self._compress:  # else it need not be loaded
            from cgagent.runtime.logs import files as logfiles

            logfiles.rotate(self._path, new, self._max_files)
            return
        for number in range(self._max_files - 1, 0, -1):  # the oldest first: see the reader
            source = self._path + (f".{number - 1}" if number > 1 else "")
            with contextlib.suppress(FileNotFoundError):
                os.rename(source, f"{self._path}.{number}")
        os.rename(new, self._path)

    def close(self) -> None:
        """Write what was held back, and close."""
        for stream, rest in self._held.items():
            if rest:
                if self.is_full:
                    self.rotate()
                self._write_all(_encode(rest, self._tail(stream)))
        self._held.clear()
        os.close(self._fd)

    def _write_all(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._fd, view)
            except OSError:  # a full disk must not stop the container; the loss is reported
                self.dropped_bytes += len(view)
                return
            self._size += count
            view = view[count:]


def _open(path: str, flags: int = 0) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | flags, 0o640)


def _blocks(text: bytes) -> Iterator[bytes]:
    """What is to be written now: some lines at a time, or a piece of a long one."""
    begin = 0
    while begin < len(text):
        end = text.rfind(b"\n", begin, begin + _BLOCK_BYTES) + 1
        if not end:
            end = text.find(b"\n", begin, begin + MAX_LINE) + 1
        if not end:
            if begin + MAX_LINE > len(text):
                return
            end = _piece_end(text, begin)
        yield text[begin:end]
        begin = end


def _encode(entry: bytes, tail: str) -> bytes:
    return f"{_PREFIX}{_json_text(entry)}{tail}".encode()


def _encode_block(block: bytes, tail: str) -> bytes:
    """All lines at once where that can be done: 10 times faster than one by one.

    Without a backslash in the text, "backslash n" in its encoding is a newline and nothing else.
    """
    if b"\\" in block or not block.endswith(b"\n"):
        return b"".join(_encode(entry, tail) for entry in entries(block))
    lines = _json_text(block)[:-2].replace("\\n", f"\\n{tail}{_PREFIX}")
    return f"{_PREFIX}{lines}\\n{tail}".encode()


def _json_text(data: bytes) -> str:
    """As it stands in a JSON string, without the quotes."""
    return encode_basestring(data.decode("utf-8", "replace"))[1:-1]
