"""What containers have used over their restarts. Rows in, rows out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    name: str
    """The container's; with the image it names one that was removed and made again, too."""
    image: str
    document: str
    updated_ns: int


class UsageRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str, image: str) -> UsageRow | None:
        rows = self._database.query(
            "SELECT name, image, document, updated_ns FROM container_usage "
            "WHERE name = ? AND image = ?",
            (name, image),
        )
        return UsageRow(**rows[0]) if rows else None

    def put(self, rows: Iterable[UsageRow], oldest_ns: int, most: int) -> None:
        """Keep these; of all others those no older than `oldest_ns`, the newest `most`."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO container_usage (name, image, document, updated_ns) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (name, image) DO UPDATE SET "
                "document = excluded.document, updated_ns = excluded.updated_ns",
                [(row.name, row.image, row.document, row.updated_ns) for row in rows],
            )
            connection.execute(
                "DELETE FROM container_usage WHERE updated_ns < ? OR (name, image) IN (SELECT "
                "name, image FROM container_usage ORDER BY updated_ns DESC LIMIT -1 OFFSET ?)",
                (oldest_ns, most),
            )
