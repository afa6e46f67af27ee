"""What a pidfd tells of a process that is not our child, and does to its process group."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
from typing import Final

# struct pidfd_info of linux/pidfd.h, first version: mask, cgroupid, eleven ids, exit_code
_INFO: Final = struct.Struct("=QQ11Ii")
_GET_INFO: Final = 0xC0000000 | (_INFO.size << 16) | (0xFF << 8) | 11
_INFO_EXIT: Final = 1 << 3
_SIGNAL_PROCESS_GROUP: Final = 1 << 2
_STATE, _EXIT_CODE = 0, 49  # in /proc/PID/stat, counted from what comes after the name


def exit_status(pid: int, pidfd: int) -> int | None:
    """How a process ended, as wait(2) has it. None: it is not known.

    From the zombie as long as it is there. After it was reaped the kernel tells since Linux 6.15.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _noted_status(pidfd)
    if fields[_STATE] == "Z" and not is_reaped(pidfd):  # so it is still the same process
        return int(fields[_EXIT_CODE])
    return _noted_status(pidfd)


def is_reaped(pidfd: int) -> bool:
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as f:
        return any(line.split() == ["Pid:", "-1"] for line in f)


def _noted_status(pidfd: int) -> int | None:
    buffer = bytearray(_INFO.pack(_INFO_EXIT, *(0,) * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, buffer)
    except OSError:
        return None
    mask, *_, code = _INFO.unpack(buffer)
    return int(code) if mask & _INFO_EXIT else None


def signal_group(pid: int, pidfd: int, number: int) -> None:
    """To all of the process group that this process leads; it may have ended.

    Since Linux 6.9 also after it was reaped; before, only as long as nobody has.

    Raises:
        ProcessLookupError: nobody is left of it.
    """
    try:
        signal.pidfd_send_signal(pidfd, number, None, _SIGNAL_PROCESS_GROUP)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
        if is_reaped(pidfd):  # its number may be another's by now
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        os.killpg(pid, number)
