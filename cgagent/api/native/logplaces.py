"""Entries of a log as an answer that goes on, and where in the log each of them is.

A place is the entry's time, and how many with the same time are before it: ``2026-11-24T...Z/2``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cgagent.api.native.lines import Line
from cgagent.errors import InvalidInputError
from cgagent.moments import moment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


@dataclass(frozen=True, slots=True)
class Place:
    time: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None: the client was nowhere so far. Raises InvalidInputError: it is none."""
        if not text:
            return None
        time, separator, number = text.partition("/")
        if not separator or not number.isdecimal():
            raise InvalidInputError(f"Last-Event-ID {text!r} is none of a log's")
        place = cls(time, int(number))
        place.since_ns  # noqa: B018 - whether it is a time
        return place

    @property
    def since_ns(self) -> int:
        """Raises InvalidInputError."""
        return moment(self.time, "Last-Event-ID") or 0

    def __str__(self) -> str:
        return f"{self.time}/{self.number}"


async def plain(pieces: AsyncIterator[list[bytes]]) -> AsyncGenerator[list[Line]]:
    async for entries in pieces:
        yield [Line(entry) for entry in entries]


async def placed(
    pieces: AsyncIterator[list[bytes]], after: Place | None
) -> AsyncGenerator[list[Line]]:
    """Each with its place, from the one behind `after` on."""
    last = Place("", 0)
    async for entries in pieces:
        lines = []
        for entry in entries:
            time = str(json.loads(entry)["time"])
            last = Place(time, last.number + 1 if time == last.time else 0)
            if after is None or time != after.time or last.number > after.number:
                lines.append(Line(entry, str(last)))
        yield lines
