"""Reading a container's log: the last entries, all of them, or those to come."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_BATCH_BYTES: Final = 256 * 1024
_POLL_S: Final = 0.1

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    streams: frozenset[str] = frozenset({"stdout", "stderr"})
    tail: int | None = None
    """Only so many entries from the end; None: all."""
    follow: bool = False


class _Reader:
    """Complete lines from the current position on; an incomplete last one waits for its rest."""

    def __init__(self, file: IO[bytes], query: LogQuery) -> None:
        self._file = file
        self._query = query
        self._rest = b""

    def batch(self) -> list[Entry] | None:
        """Entries of the next piece of the file; None at its present end."""
        data = self._file.read(_BATCH_BYTES)
        if not data:
            return None
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [e for e in map(_entry, lines) if e and e.get("stream") in self._query.streams]

    def batches(self) -> Iterator[list[Entry]]:
        while (entries := self.batch()) is not None:
            yield entries


def _entry(line: bytes) -> Entry | None:
    """None for a line that a full disk cut short."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


async def follow(
    path: str, query: LogQuery, running: Callable[[], bool]
) -> AsyncIterator[list[Entry]]:
    """Batches of entries; with `query.follow` until the container has ended and all is read."""
    if not os.path.exists(path):  # nothing has run yet
        return
    with open(path, "rb") as file:  # noqa: ASYNC230 - a local file; read in small pieces
        reader = _Reader(file, query)
        if query.tail is None:
            async for entries in _paced(reader):
                yield entries
        else:
            last: deque[Entry] = deque(maxlen=query.tail)
            async for entries in _paced(reader):
                last.extend(entries)
            yield list(last)
        while query.follow:
            ended = not running()
            async for entries in _paced(reader):
                yield entries
            if ended:
                return
            await asyncio.sleep(_POLL_S)


async def _paced(reader: _Reader) -> AsyncIterator[list[Entry]]:
    """Batches, with the event loop let in between them."""
    for entries in reader.batches():
        yield entries
        await asyncio.sleep(0)
