"""Capability sets: names, and giving up what a container's process shall not have."""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

# The order is the bit number, from linux/capability.h.
NAMES: Final = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID"),
    *("CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE"),
    *("CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW"),
    *("CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT"),
    *("CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE"),
    *("CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE"),
    *("CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE"),
    *("CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ"),
    *("CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)
_BIT: Final = {name: bit for bit, name in enumerate(NAMES)}

_MOST: Final = 64  # bits of a set

_VERSION_3: Final = 0x20080522
PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint32) for n in ("effective", "permitted", "inheritable")]


def mask(names: Iterable[str]) -> int:
    """The bit set of capability names.

    Raises:
        InvalidInputError: a name this version does not know.
    """
    bits = 0
    for name in names:
        if name not in _BIT:
            raise InvalidInputError(f"capability {name!r} is not known; see capabilities(7)")
        bits |= 1 << _BIT[name]
    return bits


def held_by_us() -> int:
    """Our own effective set: what may be handed on. Asked of the kernel, not of a /proc."""
    header = _Header(version=_VERSION_3, pid=0)
    words = (_Data * 2)()
    libc.syscall(libc.SYS_capget, ctypes.byref(header), words)
    return int(words[0].effective) | int(words[1].effective) << 32


def limit_bounding(keep: int) -> None:
    """Drop every capability outside `keep` from the bounding set. Needs CAP_SETPCAP.

    The kernel says which is the last: the /proc of a container may be a volume that lies.
    """
    for bit in range(_MOST):
        if keep >> bit & 1:
            continue
        try:
            libc.prctl(PR_CAPBSET_DROP, bit, 0, 0, 0)
        except OSError as e:
            if e.errno == errno.EINVAL and bit > _BIT["CAP_WAKE_ALARM"]:  # beyond the last
                return
            raise


def keep_over_setuid(*, keep: bool) -> None:
    libc.prctl(PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def no_new_privileges() -> None:
    """Let execve grant nothing any more: no setuid, no file capabilities. Cannot be undone."""
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def clear_ambient() -> None:
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def raise_ambient(bits: int) -> None:
    """Add to the ambient set what is both permitted and inheritable. Since kernel 4.3."""
    for bit in range(_MOST):
        if bits >> bit & 1:
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0)


def set_process(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling process."""
    header = _Header(version=_VERSION_3, pid=0)
    words = (_Data * 2)(
        *(
            _Data(
                effective=effective >> shift & 0xFFFFFFFF,
                permitted=permitted >> shift & 0xFFFFFFFF,
                inheritable=inheritable >> shift & 0xFFFFFFFF,
            )
            for shift in (0, 32)
        )
    )
    libc.syscall(libc.SYS_capset, ctypes.byref(header), words)
