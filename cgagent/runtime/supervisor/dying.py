"""Killed processes that nobody waits for.

In a frozen cgroup (v1) even a killed process stays until that is thawed; the supervisor has other
things to do meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop


def kill(pidfd: int) -> None:
    """SIGKILL; one that has been reaped already is fine."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def kill_and_reap(
    loop: Loop, pidfd: int, *, is_ours: bool, then: Callable[[], None] | None = None
) -> None:
    """Kill it. When it has ended it is reaped, if it is our child, and `then` is called.

    `pidfd` stays the caller's.
    """
    kill(pidfd)
    own = os.dup(pidfd)

    def ended() -> None:
        loop.forget(own)
        if is_ours:
            with contextlib.suppress(ChildProcessError):  # after a fork it is the parent's
                os.waitid(os.P_PIDFD, own, os.WEXITED)
        os.close(own)
        if then is not None:
            then()

    loop.watch(own, selectors.EVENT_READ, ended)
