"""The supervisor's part: to be the parent of a process that another runtime has made.

It is an orphan of the runtime's, and orphans go to the next ancestor that takes them. They are
taken only while a launcher is at work: the keeper's are those of a container in the host's pid
namespace.
"""

from __future__ import annotations

from cgagent.kernel import namespaces


class Launchers:
    """How many are at work: of one supervisor."""

    def __init__(self) -> None:
        self._count = 0

    def begin(self) -> None:
        self._count += 1
        namespaces.set_child_subreaper(take=True)

    def end(self) -> None:
        self._count -= 1
        namespaces.set_child_subreaper(take=self._count > 0)
