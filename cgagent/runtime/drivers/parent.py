"""The supervisor's part: to be the parent of a process that another runtime has made.

It is an orphan of the runtime's, and orphans go to the next ancestor that takes them. They are
taken only while a launcher is at work: those of a container in the host's pid namespace belong to
PID 1.
"""

from __future__ import annotations

import os
import signal

from cgagent.kernel import namespaces


class Launchers:
    """How many are at work; one object for the process."""

    def __init__(self) -> None:
        self._count = 0

    def begin(self) -> None:
        self._count += 1
        namespaces.take_orphans(take=True)

    def end(self) -> None:
        self._count -= 1
        namespaces.take_orphans(take=self._count > 0)


_LAUNCHERS = Launchers()


class Launch:
    """One launcher, from its job on. `pidfd` is its own, until it has named another process."""

    def __init__(self) -> None:
        self._pidfd: int | None = None
        _LAUNCHERS.begin()

    def became(self, pidfd: int) -> None:
        """The task has another process now; this is the launcher's."""
        self._pidfd = pidfd

    def end(self, *, kill: bool = False) -> None:
        """It has said all it had to say, or shall not say more."""
        if self._pidfd is not None:
            if kill:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            os.close(self._pidfd)
        _LAUNCHERS.end()
