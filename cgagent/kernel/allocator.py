"""glibc's allocator, told to give memory back. Another libc has none of it, and needs none."""

from __future__ import annotations

import ctypes
from typing import Final

_libc: Final = ctypes.CDLL(None)
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 128 * 1024
_ARENAS: Final = 2


class _Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of <malloc.h>."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def keep_little() -> None:
    """From now on a large block goes back when it is freed, and threads share their heaps.

    By default each large block that is freed makes larger ones count as small (mallopt(3)).
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        _libc.mallopt(_M_ARENA_MAX, _ARENAS)


def free_bytes() -> int:
    """What it has from the kernel and nobody uses; 0 where that cannot be asked (glibc 2.33)."""
    if not hasattr(_libc, "mallinfo2"):
        return 0
    _libc.mallinfo2.restype = _Mallinfo2
    found: _Mallinfo2 = _libc.mallinfo2()
    return int(found.fordblks)


def give_back() -> None:
    """Return what is free to the kernel; other threads run on meanwhile."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
