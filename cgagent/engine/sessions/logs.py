"""Showing what a container has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.runtime.logs.reader import follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.runtime.logs.reader import LogQuery


class Logs:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def read(self, container: Container, query: LogQuery) -> AsyncIterator[list[bytes]]:
        """Entries in pieces, a line of JSON each; with ``query.follow`` as long as it is up.

        Raises:
            UnsupportedError: it was adopted, or its log driver keeps nothing to be shown.
        """
        container.require_started_here("showing its output")
        container.record.resolved.log.require_readable()
        path = str(self._lifecycle.bundle(container.id).log)
        return follow(path, query, lambda: container.up)
