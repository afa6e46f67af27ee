"""Pipes: how much is in one, and looking at it without taking it."""

from __future__ import annotations

import array
import fcntl
import os
import termios

from cgagent.kernel import libc


def available(fd: int) -> int:
    """Bytes that can be read now."""
    count = array.array("i", (0,))
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def tee(source: int, target: int, count: int) -> int:
    """Put a copy of what is in one pipe into another; returns how many bytes that was.

    Raises:
        BlockingIOError: nothing is there, or the target is full.
    """
    return libc.tee(source, target, count, os.SPLICE_F_NONBLOCK)
