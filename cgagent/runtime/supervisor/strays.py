"""How processes end whose parent was a keeper that was killed: init's children, not ours.

Only a process that is not our child can become one, so these are followed, and only while there
are any.
"""

from __future__ import annotations

import select
import selectors
import sys
from typing import TYPE_CHECKING, Final

from cgagent.kernel import pidfd as process
from cgagent.kernel.exits import Exits

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.kernel.loop import Loop

_LATE_MS: Final = 100


class Strays:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._exits: Exits | None = None
        self._is_deaf = False
        self._statuses: dict[int, int] = {}

    def follow(self, pids: Collection[int]) -> None:
        """These and no others, from now on."""
        self._statuses = {pid: self._statuses[pid] for pid in pids if pid in self._statuses}
        if not pids:
            self._stop()
            return
        if self._exits is None and not self._is_deaf:
            self._listen()
        if self._exits is not None:
            self._exits.follow(pids)

    def _listen(self) -> None:
        try:
            self._exits = Exits()
        except OSError as e:  # inside another container, for example
            self._is_deaf = True
            sys.stderr.write(f"the ends of others' children cannot be heard: {e.strerror}\n")
            return
        self._loop.watch(self._exits.fileno(), selectors.EVENT_READ, self._hear)

    def _stop(self) -> None:
        if self._exits is not None:
            self._loop.forget(self._exits.fileno())
            self._exits.close()
            self._exits = None

    def _hear(self) -> None:
        if self._exits is not None:
            self._statuses |= self._exits.read()

    def status(self, pid: int, pidfd: int) -> int | None:
        """How one that was followed has ended, as wait(2) has it. None: it is not known."""
        found = process.exit_status(pid, pidfd)
        if found is None:
            self._hear()
        if found is None and pid not in self._statuses:  # its parent hears of it a little earlier
            self._wait()
            self._hear()
        return self._statuses.get(pid) if found is None else found

    def _wait(self) -> None:
        if self._exits is not None:
            poll = select.poll()
            poll.register(self._exits, select.POLLIN)
            poll.poll(_LATE_MS)
