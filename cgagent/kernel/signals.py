"""Signal dispositions as a whole: what was ignored stays ignored over exec, unless it is reset."""

from __future__ import annotations

import ctypes
import signal
from typing import Final

from cgagent.kernel import libc

_SYS_rt_sigaction: Final = 13 if libc.is_x86() else 134
_LAST: Final = 64
_SIGSET_BYTES: Final = 8


class _Action(ctypes.Structure):
    """``struct sigaction`` as the kernel has it; all zero is the default action."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("restorer", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),
    ]


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
