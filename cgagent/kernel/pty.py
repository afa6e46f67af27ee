"""Pseudo-terminals by descriptor: the pair, its size, the controlling terminal of a session.

Never by a ``/dev/pts/N`` path: whoever writes in that directory may have put something else there
(CVE-2025-52565). ioctl_tty(2), pty(7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from typing import Final

_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441
_PTMX: Final = os.makedev(5, 2)
_OPEN: Final = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


def open_master(devpts_fd: int) -> int:
    """A new pair's master, made in the devpts mounted on a directory; unlocked, close-on-exec.

    Reading waits, as whoever is given it (the console socket's owner) expects.

    Raises:
        FileNotFoundError: the directory has no ``ptmx``.
        OSError: what it has of that name is not the multiplexer (ENODEV), or it is used up.
    """
    # O_NONBLOCK: a FIFO put there must not make us wait
    master = os.open("ptmx", _OPEN | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=devpts_fd)
    try:
        status = os.fstat(master)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), "ptmx")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        os.set_blocking(master, True)
    except BaseException:
        os.close(master)
        raise
    return master


def open_slave(master: int) -> int:
    """The other end of a master, whatever stands at its path. Since kernel 4.13."""
    return fcntl.ioctl(master, _TIOCGPTPEER, _OPEN)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Of either end; if it changes, the foreground process group gets SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def make_controlling(slave: int) -> None:
    """Make it the controlling terminal of this session, whose leader calls and which has none."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
