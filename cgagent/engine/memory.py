"""Memory that a burst of work took goes back to the kernel when it is over."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Final

from cgagent.kernel import allocator

_EVERY_S: Final = 15
_GROWN_BYTES: Final = 4 * 1024 * 1024
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def keep_little() -> None:
    """Once, at the start of the process: large blocks are given back when they are freed."""
    allocator.keep_little()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


async def give_back() -> None:
    """Look now and then, without end; nothing is done where nothing has grown or become free."""
    resident, free = resident_bytes(), allocator.free_bytes()
    while True:
        await asyncio.sleep(_EVERY_S)
        if (
            resident_bytes() > resident + _GROWN_BYTES
            or allocator.free_bytes() > free + _GROWN_BYTES
        ):
            gc.collect()
            await asyncio.to_thread(allocator.give_back)
            resident, free = resident_bytes(), allocator.free_bytes()
        else:
            resident, free = min(resident, resident_bytes()), min(free, allocator.free_bytes())
