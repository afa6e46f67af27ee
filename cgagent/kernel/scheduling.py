"""How a process is scheduled: CPU policy, input/output priority, and its execution domain."""

from __future__ import annotations

import ctypes
from typing import Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import libc

POLICIES: Final = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS: Final = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES: Final = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IO_CLASS_SHIFT: Final = 13
_IO_WHO_PROCESS: Final = 1

_MOST_CPUS: Final = 1 << 16

DOMAINS: Final = {"LINUX": 0x0000, "LINUX32": 0x0008}


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` of linux/sched/types.h, its first version."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    ]


def set_policy(
    policy: int,
    *,
    flags: int = 0,
    nice: int = 0,
    priority: int = 0,
    runtime_ns: int = 0,
    deadline_ns: int = 0,
    period_ns: int = 0,
) -> None:
    """sched_setattr(2) for the calling process."""
    attributes = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=policy,
        flags=flags,
        nice=nice,
        priority=priority,
        runtime_ns=runtime_ns,
        deadline_ns=deadline_ns,
        period_ns=period_ns,
    )
    libc.syscall(libc.SYS_sched_setattr, 0, ctypes.byref(attributes), 0)


def set_io_priority(class_: int, level: int) -> None:
    """ioprio_set(2) for the calling process."""
    libc.syscall(libc.SYS_ioprio_set, _IO_WHO_PROCESS, 0, class_ << _IO_CLASS_SHIFT | level)


def parse_cpus(text: str) -> frozenset[int]:
    """A list such as ``0-3,8``.

    Raises:
        InvalidInputError: it is none.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        bounds = (first, last if dash else first)
        if not all(b.isascii() and b.isdecimal() and int(b) < _MOST_CPUS for b in bounds):
            raise InvalidInputError(f"cpu list {text!r}: it must be like 0-3,8")
        cpus.update(range(int(bounds[0]), int(bounds[1]) + 1))
    return frozenset(cpus)


def set_domain(domain: int) -> None:
    """personality(2)."""
    libc.syscall(libc.SYS_personality, domain)
