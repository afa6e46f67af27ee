"""Containers' first processes, watched by the names process for the time without an agent.

An agent tells of each end itself. While there is none, the end of a container's first process is
the container's; what ended before the agent went is told then.
"""

from __future__ import annotations

import os
import selectors
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop


class Lives:
    """Owns a pidfd for each container."""

    def __init__(self, loop: Loop, ended: Callable[[], None]) -> None:
        """`ended`: somebody's life is over, see `over`."""
        self._loop = loop
        self._ended = ended
        self._pidfds: dict[str, int] = {}
        self._over: set[str] = set()

    def watch(self, container: str, pidfd: int) -> None:
        self.forget(container)
        self._pidfds[container] = pidfd
        self._loop.watch(pidfd, selectors.EVENT_READ, partial(self._has_ended, container))

    def forget(self, container: str) -> None:
        self._over.discard(container)
        pidfd = self._pidfds.pop(container, None)
        if pidfd is not None:
            self._loop.forget(pidfd)
            os.close(pidfd)

    def _has_ended(self, container: str) -> None:
        self.forget(container)
        self._over.add(container)
        self._ended()

    def over(self) -> set[str]:
        """Containers that have ended since this was asked last, and that nobody has told of."""
        found, self._over = self._over, set()
        return found
