"""libc prototypes, each declared once, behind one errno check.

Loaded as `ctypes.PyDLL`: the interpreter lock is kept during each call, which clone3 needs (a
child must find the lock held by its own thread) and short calls do not mind.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_libc: Final = ctypes.PyDLL(None, use_errno=True)

c_int, c_uint, c_long, c_ulong = ctypes.c_int, ctypes.c_uint, ctypes.c_long, ctypes.c_ulong
c_char_p, c_void_p, c_size_t = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t


def _check(result: Any, function: Any, arguments: Any) -> Any:  # noqa: ARG001
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _declare(name: str, *argtypes: Any, restype: Any = c_int) -> Callable[..., int]:
    function = _libc[name]
    function.argtypes = argtypes
    function.restype = restype
    function.errcheck = _check
    return function


mount = _declare("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_void_p)
umount2 = _declare("umount2", c_char_p, c_int)
execve = _declare("execve", c_char_p, c_void_p, c_void_p)
setns = _declare("setns", c_int, c_int)
unshare = _declare("unshare", c_int)
fstatfs = _declare("fstatfs", c_int, c_void_p)
prctl = _declare("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
tee = _declare("tee", c_int, c_int, c_size_t, c_uint, restype=ctypes.c_ssize_t)
sethostname = _declare("sethostname", c_char_p, c_size_t)
setdomainname = _declare("setdomainname", c_char_p, c_size_t)

_syscall_raw = _libc["syscall"]
_syscall_raw.restype = c_long
_syscall_raw.errcheck = _check


def syscall(number: int, *arguments: Any) -> int:
    """A system call without a libc wrapper. Integers are passed as longs."""
    words = (c_long(a) if isinstance(a, int) else a for a in arguments)
    return int(_syscall_raw(c_long(number), *words))


def is_x86() -> bool:
    return os.uname().machine == "x86_64"


# Numbers below 424 differ between architectures; from 424 on they are the same everywhere.
SYS_pivot_root: Final = 155 if is_x86() else 41
SYS_capget: Final = 125 if is_x86() else 90
SYS_capset: Final = 126 if is_x86() else 91
SYS_personality: Final = 135 if is_x86() else 92
SYS_ioprio_set: Final = 251 if is_x86() else 30
SYS_sched_setattr: Final = 314 if is_x86() else 274
SYS_open_tree: Final = 428
SYS_move_mount: Final = 429
SYS_fsopen: Final = 430
SYS_fsconfig: Final = 431
SYS_fsmount: Final = 432
SYS_clone3: Final = 435
SYS_close_range: Final = 436
SYS_openat2: Final = 437
SYS_mount_setattr: Final = 442
SYS_quotactl_fd: Final = 443
