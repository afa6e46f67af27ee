"""Showing what a container has written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cgagent.runtime.logs.reader import follow, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.runtime.logs.reader import LogQuery, Reader


class Logs:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def read(self, container: Container, query: LogQuery) -> AsyncGenerator[list[bytes]]:
        """Entries in pieces, a line of JSON each; with ``query.follow`` as long as it is up.

        Raises:
            UnsupportedError: it was adopted, or its log driver keeps nothing to be shown.
        """
        return follow(self._path(container), query, lambda: container.up)

    def past(self, container: Container, query: LogQuery) -> Past:
        """What it has written so far. Raises: as `read`."""
        return Past(self._path(container), query)

    def _path(self, container: Container) -> str:
        container.require_started_here("showing its output")
        container.record.resolved.log.require_readable()
        return str(self._lifecycle.bundle(container.id).log)


class Past:
    """What a container has written before a client is attached; the client gets the rest there."""

    def __init__(self, path: str, query: LogQuery) -> None:
        self._path = path
        self._query = query
        self._reader: Reader | None = None

    async def entries(self) -> AsyncIterator[list[bytes]]:
        """To the present end, from where the last call has come to."""
        if self._reader is None:
            self._reader = await opened(self._path, self._query)
        if self._reader is not None:
            async for lines in self._reader.batches():
                yield lines

    @property
    def place(self) -> tuple[int, ...]:
        """How far all of it was read; for `Streams.attach`."""
        return self._reader.place if self._reader else (0, 0)

    def is_complete(self) -> bool:
        """Is there no more of it, if nobody writes?"""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return self._reader is None
        return self.place == (status.st_ino, status.st_size)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
