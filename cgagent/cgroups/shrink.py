"""Lowering a memory limit below what is in use without anything being killed for it.

cgroup2 takes such a limit and kills until it holds; v1 refuses it when a first reclaim does not
get there. Here the use is brought down first, in steps and within a time: on v2 below a lowered
memory.high, which slows the group's allocations, with memory.reclaim (Linux 5.19); on v1 by
lowering the limit step by step. Whoever cannot give memory back keeps the limit it had.

So does whoever needs what it gave back: in a second in which all the group's tasks together stood
still for memory (`full` in memory.pressure) for more than STALLED_SHARE of the time, the shrink is
given up. Pressure is cgroup2's, so on v1 this holds where cgroup2 is mounted too.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files, pressure
from cgagent.cgroups.memory import MemoryV1, MemoryV2
from cgagent.errors import CgagentError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups.limits import Limits

STALLED_SHARE: Final = 0.6
"""systemd-oomd's default for a group under too much pressure (`DefaultMemoryPressureLimit=`)."""
_WINDOW_S: Final = 1.0
_STEP_BYTES: Final = 64 << 20
_PAUSE_S: Final = 0.02
_FRUITLESS_TRIES: Final = 8
"""Steps in a row that gave nothing back: what is left cannot be reclaimed."""
_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR})


@contextmanager
def room_for(
    memory: MemoryV1 | MemoryV2 | None, unified: str | None, limits: Limits, timeout_s: float
) -> Iterator[None]:
    """Bring memory use below `limits.memory_max_bytes` for the time of the block that writes it.

    `unified` is the group's cgroup2 directory. When the use cannot be brought down, or the block
    fails, the earlier values are back.

    Raises:
        ConflictError: more is in use and cannot be reclaimed in time, or not without the
            group's tasks standing still.
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
        _reclaim(memory, target, _Stalls(unified), time.monotonic() + timeout_s)
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


def _reclaim(memory: MemoryV1 | MemoryV2, target: int, stalls: _Stalls, deadline: float) -> None:
    """Step by step, until no more than `target` is in use and the tasks get on with that."""
    fruitless = 0
    used = step = _used(memory)
    while True:
        is_late = time.monotonic() >= deadline
        share = stalls.share()
        if share is not None and share > STALLED_SHARE:
            raise _standstill(memory, target, share)
        if used <= target and step == target and (share is not None or is_late):
            return
        if used > target and (fruitless == _FRUITLESS_TRIES or is_late):
            raise _too_much(memory, used, target)
        step = max(used - _STEP_BYTES, target)
        if not _step(memory, target, step) or used <= target:
            time.sleep(_PAUSE_S)
        now = _used(memory)
        fruitless = fruitless + 1 if now >= used else 0
        used = now


def _step(memory: MemoryV1 | MemoryV2, target: int, step: int) -> bool:
    """Whether the kernel could give back all that was asked."""
    try:
        memory.reclaim_towards(target, step)
    except OSError as error:
        if error.errno not in _NOT_NOW:
            raise files.failure(f"{memory.brake}: memory cannot be reclaimed", error) from error
        return False
    return True


class _Stalls:
    """How much of the time all tasks of a group together wait for memory."""

    def __init__(self, unified: str | None) -> None:
        self._path = f"{unified}/memory.pressure"
        self._since = time.monotonic()
        self._total = self._total_ns()

    def share(self) -> float | None:
        """Of the last window; None while they have waited and the window is not over."""
        total = self._total_ns()
        if total == self._total:
            return 0.0
        now = time.monotonic()
        length_s = now - self._since
        if length_s < _WINDOW_S:
            return None
        share = (total - self._total) / 1e9 / length_s
        self._since, self._total = now, total
        return share

    def _total_ns(self) -> int:
        psi = pressure.parse(files.read(self._path))
        return psi.full.total_ns if psi and psi.full else 0


def _used(memory: MemoryV1 | MemoryV2) -> int:
    return memory.current_bytes() or 0


def _too_much(memory: MemoryV1 | MemoryV2, used: int, target: int) -> ConflictError:
    return _given_up(memory, f"more is in use ({used} bytes) than {target} and cannot be reclaimed")


def _standstill(memory: MemoryV1 | MemoryV2, target: int, share: float) -> ConflictError:
    return _given_up(
        memory,
        f"on the way to {target} its tasks stalled for want of memory, {share:.0%} of a second",
    )


def _given_up(memory: MemoryV1 | MemoryV2, cause: str) -> ConflictError:
    effect = (
        "to let the kernel kill for it"
        if isinstance(memory, MemoryV2)
        else "to have it written at once"
    )
    return ConflictError(
        f"limit memory_max_bytes: cgroup {os.path.dirname(memory.brake)}: {cause}: end something "
        f"in it, or use --force {effect}"
    )
