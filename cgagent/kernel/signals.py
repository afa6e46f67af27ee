"""Signals: their names, and dispositions as a whole.

What was ignored stays ignored over exec, unless it is reset.
"""

from __future__ import annotations

import ctypes
import signal
from typing import Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import libc

_SYS_rt_sigaction: Final = 13 if libc.is_x86() else 134
_LAST: Final = 64
_SIGSET_BYTES: Final = 8
_DIGITS: Final = 4
_BASES: Final = {"RTMIN+": (int(signal.SIGRTMIN), 1), "RTMAX-": (int(signal.SIGRTMAX), -1)}
"""What real-time signals are counted from, and which way: 32 and 33 are the C library's."""


class _Action(ctypes.Structure):
    """``struct sigaction`` as the kernel has it; all zero is the default action."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("restorer", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),
    ]


def parse(name: str) -> int:
    """``SIGTERM``, ``TERM``, ``15``, ``SIGRTMIN+3`` or ``RTMAX-1``, in upper or lower case.

    Raises:
        InvalidInputError: no such signal.
    """
    number = _number(name.upper())
    if number is None or not 1 <= number <= _LAST:
        raise InvalidInputError(
            f"signal {name!r} is not known; use a name such as TERM or RTMIN+3, or a number"
        )
    return number


def _number(text: str) -> int | None:
    if text.isascii() and text.isdecimal():
        return int(text) if len(text) <= _DIGITS else None
    short = text.removeprefix("SIG")
    first, way = _BASES.get(short[:6], (0, 0))
    steps = short[6:]
    if not way:
        found = signal.Signals.__members__.get(f"SIG{short}")
        return None if found is None else int(found)
    if not (steps.isascii() and steps.isdecimal() and len(steps) <= _DIGITS):
        return None
    number = first + way * int(steps)
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None


def reset_all() -> None:
    """Default action for every signal, none blocked.

    Python ignores SIGPIPE and SIGXFSZ. The two that the C library keeps to itself (32, 33) may
    have been ignored by whoever started the agent; only the system call reaches them.
    """
    default = ctypes.byref(_Action())
    for number in range(1, _LAST + 1):
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            libc.syscall(_SYS_rt_sigaction, number, default, None, _SIGSET_BYTES)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
