"""What happened, kept: the last so many events, oldest first."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from cgagent.store.database import Database


@dataclass(slots=True, kw_only=True)
class EventRow:
    number: int = field(default=0, compare=False)
    """Its place among all events; it is given when the event is kept."""
    time_ns: int
    type: str
    action: str
    id: str
    attributes: dict[str, str] = field(default_factory=dict)


def insert(connection: sqlite3.Connection, row: EventRow) -> None:
    """In whatever transaction that connection is: an event is kept with what it is about."""
    cursor = connection.execute(
        "INSERT INTO events (time_ns, type, action, id, attributes) VALUES (?, ?, ?, ?, ?)",
        (row.time_ns, row.type, row.action, row.id, json.dumps(row.attributes)),
    )
    row.number = cursor.lastrowid or 0


def _event(row: sqlite3.Row) -> EventRow:
    return EventRow(
        number=row["number"],
        time_ns=row["time_ns"],
        type=row["type"],
        action=row["action"],
        id=row["id"],
        attributes=json.loads(row["attributes"]),
    )


class EventRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, row: EventRow) -> None:
        with self._database.transaction() as connection:
            insert(connection, row)

    def last(self) -> int:
        """The number of the latest; 0 where there is none."""
        (row,) = self._database.query("SELECT coalesce(max(number), 0) AS last FROM events")
        return int(row["last"])

    def between(
        self, since_ns: int, until_ns: int, numbers: range, count: int, word: str = ""
    ) -> list[EventRow]:
        """The first so many of these `numbers`; both times are part of it.

        With `word`, those alone whose id begins with it, or that have it in an attribute as it is.
        """
        rows = self._database.query(
            "SELECT number, time_ns, type, action, id, attributes FROM events "
            "WHERE number BETWEEN ? AND ? AND time_ns BETWEEN ? AND ? "
            "AND (instr(id, ?) = 1 OR instr(attributes, ?)) ORDER BY number LIMIT ?",
            (numbers.start, numbers.stop - 1, since_ns, until_ns, word, word, count),
        )
        return [_event(row) for row in rows]

    def prune(self, kept: int) -> None:
        """All but the last so many."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (kept,)
            )
