"""Having the kernel take back what a group does not use: page cache, and with swap all else.

cgroup2 takes an amount (memory.reclaim, Linux 5.19). v1 takes back all that it can
(memory.force_empty), batch by batch until the writer is killed: so a process of its own writes,
which is killed when enough is taken, some MiB too late. Both take from tasks that run, too; what is
neither page cache nor can be swapped stays.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.memory import MemoryV1, MemoryV2
from cgagent.errors import InternalError, InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE_BYTES: Final = 16 << 20
"""Asked for at once: some milliseconds, after which `stop` is asked again."""
_FRUITLESS_TRIES: Final = 2
_LOOK_S: Final = 0.0001
"""v1 takes some hundred KiB in this time."""
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
        UnsupportedError: this kernel cannot.
    """
    before = _used(memory)
    amount = before if amount_bytes is None else amount_bytes
    if isinstance(memory, MemoryV1):
        _until(memory, before - amount, stop)
    else:
        _in_pieces(memory, amount, stop, may_swap=may_swap)
    return max(before - _used(memory), 0)


def _until(memory: MemoryV1, enough: int, stop: Callable[[], bool]) -> None:
    """Until no more is in use than that."""
    import subprocess

    path = f"{memory.directory}/memory.force_empty"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as e:
        raise files.failure(f"{path}: memory cannot be taken back", e) from e
    try:
        writer = subprocess.Popen(("echo", "0"), stdout=descriptor, stderr=subprocess.PIPE)
    finally:
        os.close(descriptor)
    with writer:
        try:
            with _before_others():
                while writer.poll() is None and _used(memory) > enough and not stop():
                    time.sleep(_LOOK_S)
        finally:
            writer.kill()
        if writer.wait() > 0:
            said = os.fsdecode(writer.stderr.read() if writer.stderr else b"").strip()
            raise InternalError(f"{path}: memory cannot be taken back: {said}")


@contextmanager
def _before_others() -> Iterator[None]:
    """This thread waits for no CPU: on a busy host it would look milliseconds too late."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:  # it may not
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _in_pieces(memory: MemoryV2, amount: int, stop: Callable[[], bool], *, may_swap: bool) -> None:
    path = f"{memory.directory}/memory.reclaim"
    if not os.path.exists(path):
        raise UnsupportedError(f"{path}: this kernel takes no memory back (it is in Linux 5.19)")
    start = used = _used(memory)
    fruitless = 0
    while (left := amount - (start - used)) > 0 and fruitless < _FRUITLESS_TRIES and not stop():
        _write_piece(path, str(min(left, _PIECE_BYTES)), may_swap=may_swap)
        now = _used(memory)
        fruitless = fruitless + 1 if now >= used else 0
        used = min(now, used)


def _used(memory: MemoryV1 | MemoryV2) -> int:
    return memory.current_bytes() or 0


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
