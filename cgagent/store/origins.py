"""Records of the repositories that have a blob: where a push can take it from without sending it.

They are hints. A registry may have deleted the blob meanwhile, and then it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.store.database import Database


class OriginRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, digests: Iterable[str], registry: str, repository: str) -> None:
        """Blobs without a row are left out."""
        with self._database.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO blob_origins(digest, registry, repository) "
                "SELECT digest, ?, ? FROM blobs WHERE digest = ?",
                [(registry, repository, digest) for digest in digests],
            )

    def repositories(self, digest: str, registry: str) -> list[str]:
        rows = self._database.query(
            "SELECT repository FROM blob_origins WHERE digest = ? AND registry = ? "
            "ORDER BY repository",
            (digest, registry),
        )
        return [row["repository"] for row in rows]

    def forget(self, digest: str, registry: str, repository: str) -> None:
        """It turned out not to be there."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM blob_origins WHERE digest = ? AND registry = ? AND repository = ?",
                (digest, registry, repository),
            )
