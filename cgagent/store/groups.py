"""Records of groups of containers: a name and a document the engine understands."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from cgagent.store import events

if TYPE_CHECKING:
    from cgagent.store.database import Database
    from cgagent.store.events import EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    name: str
    created_ns: int
    document: str


class GroupRows:
    """A change comes with the event that tells of it: both are kept, or neither."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[GroupRow]:
        """All groups, sorted by name: a group before those in it."""
        rows = self._database.query(
            "SELECT name, created_ns, document FROM container_groups ORDER BY name"
        )
        return [GroupRow(**dict(row)) for row in rows]

    def put(self, row: GroupRow, event: EventRow | None = None) -> None:
        """Keep it; one of the same name is replaced."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO container_groups (name, created_ns, document) "
                "VALUES (?, ?, ?)",
                astuple(row),
            )
            if event is not None:
                events.insert(connection, event)

    def delete(self, name: str, event: EventRow) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.execute("DELETE FROM container_groups WHERE name = ?", (name,))
            events.insert(connection, event)
