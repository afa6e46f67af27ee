"""Records of containers: an id, a unique name, and a document the engine understands.

A change may come with the event that tells of it: both are kept, or neither. Each row has a second
copy in the container's own directory, from which it is made again where the database has lost it.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError
from cgagent.store import events, recordfiles, requestkeys
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgagent.store.database import Database
    from cgagent.store.events import EventRow


RECORD_FILE: Final = "container.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRow:
    id: str
    name: str
    image_id: str
    created_ns: int
    document: str


class ContainerRows:
    """`directory` has a directory for each container, by its id."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory

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
        directory = self._file(row.id).parent  # an adopted one has none yet
        with disk_full_is_no_space(f"container directory {directory}", directory):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
        with self._unique_name(row.name), self._change(event) as connection:
            connection.execute(
                "INSERT INTO containers (id, name, image_id, created_ns, document) "
                "VALUES (?, ?, ?, ?, ?)",
                (row.id, row.name, row.image_id, row.created_ns, row.document),
            )
            requestkeys.note(connection, "container", row.id, row.created_ns)
        self._copy(row)

    def rename(self, row: ContainerRow, event: EventRow | None = None) -> None:
        """`row` has the new name.

        Raises:
            ConflictError: the name is taken.
        """
        with self._unique_name(row.name), self._change(event) as connection:
            connection.execute("UPDATE containers SET name = ? WHERE id = ?", (row.name, row.id))
        self._copy(row)

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

    def update(self, row: ContainerRow, event: EventRow | None = None) -> None:
        """Replace the document."""
        with self._change(event, essential=True) as connection:
            connection.execute(
                "UPDATE containers SET document = ? WHERE id = ?", (row.document, row.id)
            )
        self._copy(row)

    def delete(self, id_: str, *told: EventRow) -> None:
        recordfiles.blank(self._file(id_))
        with self._change(*told, essential=True) as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (id_,))

    def complete(self) -> None:
        """At the agent's start: each row has its copy, whatever an earlier agent died of."""
        for row in self.all():
            try:
                is_there = recordfiles.read(self._file(row.id)) is not None
            except recordfiles.DamagedRecordError:
                is_there = False
            if not is_there and self._file(row.id).parent.is_dir():
                self._copy(row)

    def lost(self) -> list[ContainerRow]:
        """The records of which the database has no row, oldest first."""
        known = {row.id for row in self.all()}
        found = (self._lost(path) for path in self._directory.glob(f"*/{RECORD_FILE}"))
        rows = [row for row in found if row is not None and row.id not in known]
        return sorted(rows, key=lambda row: row.created_ns)

    def _lost(self, path: Path) -> ContainerRow | None:
        """None: it has none, or a damaged one (whose directory is kept apart, see recovery)."""
        try:
            record = recordfiles.read(path)
            row = None if record is None else ContainerRow(**record)
        except (recordfiles.DamagedRecordError, TypeError):
            return None
        return row if row is not None and row.id == path.parent.name else None

    def is_damaged(self, id_: str) -> bool:
        """Is there something in its file that is no record?"""
        path = self._file(id_)
        try:
            return recordfiles.read(path) is not None and self._lost(path) is None
        except recordfiles.DamagedRecordError:
            return True

    def _copy(self, row: ContainerRow) -> None:
        recordfiles.write(self._file(row.id), asdict(row))

    def _file(self, id_: str) -> Path:
        return self._directory / id_ / RECORD_FILE

    @contextmanager
    def _change(
        self, *told: EventRow | None, essential: bool = False
    ) -> Iterator[sqlite3.Connection]:
        with self._database.transaction(essential=essential) as connection:
            yield connection
            for event in filter(None, told):
                events.insert(connection, event)
