"""Moving output to a log and to clients exactly once, even if we are killed at any instant of it.

A piece of output is spliced, unseen, from the container's pipe into one of ours, the stage. There
it stays until log and clients have it. Stage and notes are held by the keeper as well: a successor
takes back what was written of a piece that is still noted as being on its way, and writes it again.

      note: PIECE, where the log stands      from here on: what is in the stage is to be written
      container ──pipe──> stage ··tee··> log, clients
      note: DONE, where the log stands now   from here on: what is in the stage is done with
      stage ──> nowhere

A splice moves bytes or it does not: a killed process cannot have them. A note counts when its last
word is there; the one before it stays until then.
"""

from __future__ import annotations

import marshal
import os
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cgagent.kernel import pipes

if TYPE_CHECKING:
    from collections.abc import Mapping

PIECE, DONE, CLOSING = range(3)
STAGE, STAGE_IN, NOTES = "stage", "stage_in", "notes"
_NUMBER: Final = struct.Struct("<Q")
_HEAD: Final = struct.Struct("<QQ")  # number of the note, size of what follows
_SLOT_BYTES: Final = 64 * 1024  # for two lines held back of 16 KiB, and clients


class Note(NamedTuple):
    """What a successor needs to know. Streams by number."""

    kind: int
    stream: int = 0
    offset: int = 0
    """Size of the log."""
    held: dict[int, bytes] = {}  # noqa: RUF012 - never changed
    """The beginnings of lines which are not in the log yet."""
    dropped_bytes: int = 0
    taken: int = 0
    """How much of the piece is in the log, or held."""
    queued: dict[str, int] | None = None
    """By client: what was queued for it before the piece; None: all have the piece."""


def make() -> dict[str, int]:
    """The descriptors of a new journal."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    return {STAGE: read, STAGE_IN: write, NOTES: os.memfd_create("notes", os.MFD_CLOEXEC)}


class Journal:
    """Of one task: one piece at a time is on its way. `fds` are the caller's; see `make`."""

    def __init__(self, fds: Mapping[str, int], mirror: pipes.Mirror) -> None:
        self._stage, self._stage_in, self._notes = fds[STAGE], fds[STAGE_IN], fds[NOTES]
        self._mirror = mirror
        self._number, self.last = max(
            (found for slot in (0, 1) if (found := self._read(slot))),
            key=lambda found: found[0],
            default=(0, Note(DONE)),
        )

    def _read(self, slot: int) -> tuple[int, Note] | None:
        data = os.pread(self._notes, _SLOT_BYTES, slot * _SLOT_BYTES)
        if len(data) < _HEAD.size:
            return None
        number, size = _HEAD.unpack_from(data)
        end = _HEAD.size + size
        if not number or data[end : end + _NUMBER.size] != _NUMBER.pack(number):
            return None  # never written, or not to its end
        fields: tuple[Any, ...] = marshal.loads(data[_HEAD.size : end])  # noqa: S302 - ours
        return number, Note(*fields)

    def note(self, note: Note) -> None:
        self.last = note
        self._number += 1
        body = marshal.dumps(tuple(note))
        data = _HEAD.pack(self._number, len(body)) + body + _NUMBER.pack(self._number)
        os.pwrite(self._notes, data, (self._number % 2) * _SLOT_BYTES)

    def take(self, source: int, limit: int) -> bytes | None:
        """A piece of output, noted before as one to come.

        Returns:
            None when there is nothing now, b"" at the end.
        """
        try:
            count = os.splice(source, self._stage_in, limit, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return None
        return self._mirror.look(self._stage, count) if count else b""

    def staged(self) -> bytes:
        """What a predecessor left on its way."""
        count = pipes.available(self._stage)
        return self._mirror.look(self._stage, count) if count else b""

    def clear(self) -> None:
        """After it was noted as done."""
        while count := pipes.available(self._stage):
            os.read(self._stage, count)
