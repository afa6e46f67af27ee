"""Lowering a memory limit below what is in use without anything being killed for it.

cgroup2 takes such a limit and kills until it holds; v1 refuses it when a first reclaim does not
get there. Here the use is brought down first, in steps and within a time: on v2 below a lowered
memory.high, which slows the group's allocations, with memory.reclaim (Linux 5.19); on v1 by
lowering the limit step by step. Whoever cannot give memory back keeps the limit it had.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.memory import MemoryV1, MemoryV2
from cgagent.errors import CgagentError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups.limits import Limits

_STEP_BYTES: Final = 64 << 20
_PAUSE_S: Final = 0.02
_FRUITLESS_TRIES: Final = 8
"""Steps in a row that gave nothing back: what is left cannot be reclaimed."""
_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR})


@contextmanager
def room_for(
    memory: MemoryV1 | MemoryV2 | None, limits: Limits, timeout_s: float
) -> Iterator[None]:
    """Bring memory use below `limits.memory_max_bytes` for the time of the block that writes it.

    When the use cannot be brought down, or the block fails, the earlier values are back.

    Raises:
        ConflictError: more is in use and cannot be reclaimed in time.
    """
    target = limits.memory_max_bytes
    used = memory.current_bytes() if memory else None
    if not memory or not isinstance(target, int) or used is None or used <= target:
        yield
        return
    path = memory.brake
    before = (files.read(path) or "").strip()
    keeps_brake = isinstance(memory, MemoryV2) and limits.memory_high_bytes is None
    try:
        _reclaim(memory, target, time.monotonic() + timeout_s)
        yield
    except BaseException as error:
        _put_back(path, before, error)
        raise
    if keeps_brake:
        files.write(path, before)


def earlier(memory: MemoryV1 | MemoryV2 | None, limits: Limits) -> tuple[tuple[str, str], ...]:
    """(file, text) pairs that restore what `room_for` may change beside the limit itself."""
    if not isinstance(memory, MemoryV2) or not isinstance(limits.memory_max_bytes, int):
        return ()
    held = files.read(memory.brake)
    return () if held is None else ((memory.brake, held.strip()),)


def _put_back(path: str, value: str, error: BaseException) -> None:
    try:
        files.write(path, value)
    except FileNotFoundError:
        return  # the group is gone, and its limits with it
    except OSError as failure:
        left = f"; {path} could not be set back to {value!r}: {failure.strerror}"
        if isinstance(error, CgagentError):
            raise type(error)(error.message + left) from error
        raise files.failure(f"{path}: cannot be set back to {value!r}", failure) from error


def _reclaim(memory: MemoryV1 | MemoryV2, target: int, deadline: float) -> None:
    """Step by step, until no more than `target` is in use."""
    fruitless = 0
    used = _used(memory)
    while used > target:
        if fruitless == _FRUITLESS_TRIES or time.monotonic() >= deadline:
            raise _too_much(memory, used, target)
        try:
            memory.reclaim_towards(target, max(used - _STEP_BYTES, target))
        except OSError as error:
            if error.errno not in _NOT_NOW:
                raise files.failure(f"{memory.brake}: memory cannot be reclaimed", error) from error
            time.sleep(_PAUSE_S)
        now = _used(memory)
        fruitless = fruitless + 1 if now >= used else 0
        used = now


def _used(memory: MemoryV1 | MemoryV2) -> int:
    return memory.current_bytes() or 0


def _too_much(memory: MemoryV1 | MemoryV2, used: int, target: int) -> ConflictError:
    directory = os.path.dirname(memory.brake)
    effect = (
        "to let the kernel kill for it"
        if isinstance(memory, MemoryV2)
        else "to have it written at once"
    )
    return ConflictError(
        f"limit memory_max_bytes: cgroup {directory}: more is in use ({used} bytes) than {target} "
        f"and cannot be reclaimed: end something in it, or use --force {effect}"
    )
