"""Having the kernel take back what a group does not use: page cache, and with swap all else.

cgroup2 takes an amount (memory.reclaim, Linux 5.19). v1 takes back all that it can in one go
(memory.force_empty), also from tasks that run; what is neither page cache nor can be swapped stays.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.memory import MemoryV1, MemoryV2
from cgagent.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES: Final = 16 << 20
"""Asked for at once: some milliseconds, after which `stop` is asked again."""
_FRUITLESS_TRIES: Final = 2
_NOT_ALL: Final = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR})


def reclaim(
    memory: MemoryV1 | MemoryV2,
    amount_bytes: int | None,
    stop: Callable[[], bool],
    *,
    may_swap: bool = True,
) -> int:
    """Take back so much, or with None all that goes; the bytes that fewer are in use now.

    Raises:
        UnsupportedError: this kernel cannot, or not a part of it.
    """
    before = memory.current_bytes() or 0
    if isinstance(memory, MemoryV1):
        if amount_bytes is not None:
            raise UnsupportedError(
                "cgroup v1 takes back all of a group's memory that it can (memory.force_empty), "
                "and no amount"
            )
        if not stop():
            _write(f"{memory.directory}/memory.force_empty", "0")
    else:
        amount = before if amount_bytes is None else amount_bytes
        _in_pieces(memory, amount, stop, may_swap=may_swap)
    return max(before - (memory.current_bytes() or 0), 0)


def _in_pieces(memory: MemoryV2, amount: int, stop: Callable[[], bool], *, may_swap: bool) -> None:
    path = f"{memory.directory}/memory.reclaim"
    if not os.path.exists(path):
        raise UnsupportedError(f"{path}: this kernel takes no memory back (it is in Linux 5.19)")
    start = used = memory.current_bytes() or 0
    fruitless = 0
    while (left := amount - (start - used)) > 0 and fruitless < _FRUITLESS_TRIES and not stop():
        _write_piece(path, str(min(left, _PIECE_BYTES)), may_swap=may_swap)
        now = memory.current_bytes() or 0
        fruitless = fruitless + 1 if now >= used else 0
        used = min(now, used)


def _write_piece(path: str, text: str, *, may_swap: bool) -> None:
    if not may_swap:
        try:
            _write(path, f"{text} swappiness=0")
        except InvalidInputError:  # this kernel does not know the word
            may_swap = True
    if may_swap:
        _write(path, text)


def _write(path: str, text: str) -> None:
    """The kernel says with an error that it was less than all."""
    try:
        files.write(path, text)
    except OSError as e:
        if e.errno not in _NOT_ALL:
            raise files.failure(f"{path}: memory cannot be taken back", e) from e
