r"""A container's log in Docker's json-file format, so that existing log shippers read it.

One JSON object a line: ``{"log":"text\n","stream":"stdout","time":"..."}``. A line of output
longer than 16 KiB becomes several entries, all but the last without a newline. The supervisor
writes; `cgagent.runtime.logs` reads.
"""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring
from typing import Final

MAX_LINE: Final = 16 * 1024
FLUSH_BYTES: Final = 256 * 1024


def timestamp(now_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


class LogFile:
    """The writing end. Holds the file open; what cannot be written is counted, not kept."""

    __slots__ = ("_fd", "_partial", "dropped_bytes")

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._partial: dict[str, bytes] = {}
        self.dropped_bytes = 0

    def write(self, stream: str, data: bytes) -> None:
        """Log a piece of output. The end of a line that has not come yet is held back."""
        data = self._partial.pop(stream, b"") + data
        lines = data.split(b"\n")
        rest = lines.pop()
        entries = [line + b"\n" for line in lines]
        while len(rest) >= MAX_LINE:
            entries.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        if rest:
            self._partial[stream] = rest
        self._append(stream, entries)

    def close(self) -> None:
        """Write what was held back, and close."""
        for stream, rest in self._partial.items():
            self._append(stream, [rest])
        self._partial.clear()
        os.close(self._fd)

    def _append(self, stream: str, entries: list[bytes]) -> None:
        tail = f',"stream":"{stream}","time":"{timestamp(time.time_ns())}"}}\n'
        out: list[str] = []
        for entry in entries:
            for start in range(0, len(entry), MAX_LINE):
                text = entry[start : start + MAX_LINE].decode("utf-8", "replace")
                out.append('{"log":' + encode_basestring(text) + tail)
        self._write_all("".join(out).encode("utf-8"))

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError:  # a full disk must not stop the container; the loss is reported
                self.dropped_bytes += len(view)
                return
