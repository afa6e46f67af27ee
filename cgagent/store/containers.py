"""Records of containers: an id, a unique name, and a document the engine understands.

A change may come with the event that tells of it: both are kept, or neither.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgagent.errors import ConflictError
from cgagent.store import events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.store.database import Database
    from cgagent.store.events import EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRow:
    id: str
    name: str
    image_id: str
    created_ns: int
    document: str


class ContainerRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[ContainerRow]:
        """Every container, oldest first."""
        rows = self._database.query(
            "SELECT id, name, image_id, created_ns, document FROM containers ORDER BY created_ns"
        )
        return [ContainerRow(**dict(row)) for row in rows]

    def insert(self, row: ContainerRow, event: EventRow | None = None) -> None:
        """Keep a new one.

        Raises:
            ConflictError: the name is taken.
        """
        with self._unique_name(row.name), self._change(event) as connection:
            connection.execute(
                "INSERT INTO containers (id, name, image_id, created_ns, document) "
                "VALUES (?, ?, ?, ?, ?)",
                (row.id, row.name, row.image_id, row.created_ns, row.document),
            )

    def rename(self, id_: str, name: str, event: EventRow | None = None) -> None:
        """Raises ConflictError: the name is taken."""
        with self._unique_name(name), self._change(event) as connection:
            connection.execute("UPDATE containers SET name = ? WHERE id = ?", (name, id_))

    @staticmethod
    @contextmanager
    def _unique_name(name: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"container name {name!r} is taken; remove that container "
                f"(cgagent rm {name}) or choose another name"
            ) from None

    def update(self, id_: str, document: str, event: EventRow | None = None) -> None:
        with self._change(event) as connection:
            connection.execute("UPDATE containers SET document = ? WHERE id = ?", (document, id_))

    def delete(self, id_: str, *told: EventRow) -> None:
        with self._change(*told) as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (id_,))

    @contextmanager
    def _change(self, *told: EventRow | None) -> Iterator[sqlite3.Connection]:
        with self._database.transaction() as connection:
            yield connection
            for event in filter(None, told):
                events.insert(connection, event)
