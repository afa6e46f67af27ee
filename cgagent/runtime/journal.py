"""Moving output from a container's pipe into its log exactly once, even if we are killed meanwhile.

A piece of output is first spliced, unseen, into a pipe of ours, the stage. There it stays while it
is written to the log, and taking it away is what makes the move final. The stage, like the
containers' pipes, is also open in the keeper: whoever comes after us finds the piece still in it,
cuts the log back to where it was, and writes again. If the stage is empty, the log is right.

      container ──pipe──> splice ──> stage ──tee──> copy ──read──> log
                                       └─ taken away when the log has it
    note: whose piece it is, and what its log was before
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.kernel import pipes

if TYPE_CHECKING:
    from cgagent.runtime.logfile import LogFile, Mark

CHUNK: Final = 64 * 1024
"""What a pipe holds in its 16 pages: a stage takes as much and no more."""

_NOTE: Final = struct.Struct("<BQQH160s")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A piece that was being written: whose, of which stream, and where its log stood."""

    key: str
    stream: int
    mark: Mark
    data: bytes


class Journal:
    """Descriptors shared by keeper and supervisor; one piece at a time is on its way."""

    def __init__(self) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        self._stage, self._stage_in = os.pipe2(flags)
        self._copy, self._copy_in = os.pipe2(flags)
        self._note = os.memfd_create("journal", os.MFD_CLOEXEC)

    def take(self, source: int, key: str, stream: int, log: LogFile) -> bytes | None:
        """A piece of output, to be written to the log before `done`.

        Returns:
            None when there is nothing now, b"" at the end.
        """
        mark = log.mark(stream)
        name = key.encode()
        note = _NOTE.pack(stream, mark.offset, mark.sequence, len(name), name)
        os.pwrite(self._note, note, 0)
        try:
            count = os.splice(source, self._stage_in, CHUNK, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return None
        return self._look(count) if count else b""

    def _look(self, count: int) -> bytes:
        pipes.tee(self._stage, self._copy_in, count)
        return os.read(self._copy, count)

    def done(self) -> None:
        """The log has it."""
        os.read(self._stage, CHUNK)

    def unfinished(self) -> Unfinished | None:
        """What a predecessor left on its way."""
        from cgagent.runtime.logfile import Mark

        count = pipes.available(self._stage)
        if not count:
            return None
        if pipes.available(self._copy):
            os.read(self._copy, CHUNK)
        note = os.pread(self._note, _NOTE.size, 0)
        stream, offset, sequence, length, name = _NOTE.unpack(note)
        return Unfinished(
            name[:length].decode(), stream, Mark(offset, sequence), self._look(count)
        )
