"""Pipes: how much is in one, looking at it without taking it, opening an end again."""

from __future__ import annotations

import array
import fcntl
import os
import select
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


def has_room(fd: int) -> bool:
    """Whether a writing end takes PIPE_BUF bytes now."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def other_end(fd: int, flags: int) -> int:
    """Of a pipe that has no name: opened anew, blocking, close-on-exec."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)


class Mirror:
    """Shows what is in a pipe and leaves it there."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def look(self, source: int, count: int) -> bytes:
        """The first `count` bytes, which are there and in no more pages than a new pipe has."""
        tee(source, self._write, count)
        seen = os.read(self._read, count)
        while len(seen) < count:  # what was written as packets is read as packets
            seen += os.read(self._read, count)
        return seen
