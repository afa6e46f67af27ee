"""What a pidfd tells of a process that is not our child."""

from __future__ import annotations

import fcntl
import select
import struct
from typing import Final

# struct pidfd_info of linux/pidfd.h, first version: mask, cgroupid, eleven ids, exit_code
_INFO: Final = struct.Struct("=QQ11Ii")
_GET_INFO: Final = 0xC0000000 | (_INFO.size << 16) | (0xFF << 8) | 11
_INFO_EXIT: Final = 1 << 3


def has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def wait_status(pidfd: int) -> int | None:
    """How a reaped process ended, as wait(2) has it. None before Linux 6.15, which cannot tell."""
    buffer = bytearray(_INFO.pack(_INFO_EXIT, *(0,) * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, buffer)
    except OSError:
        return None
    mask, *_, code = _INFO.unpack(buffer)
    return int(code) if mask & _INFO_EXIT else None
