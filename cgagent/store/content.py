"""Records of blobs: what each refers to, who holds it, and which of them nobody has any more.

Rows in, rows out; it touches no file. Every function that writes takes part in the transaction its
caller holds, or is one itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cgagent.store.database import Database

_REACHABLE: Final = """
    WITH RECURSIVE reachable(digest) AS (
        SELECT id FROM images
        UNION SELECT manifest FROM images WHERE manifest IS NOT NULL
        UNION SELECT target FROM image_names
        UNION SELECT digest FROM lease_digests
        UNION SELECT diff_id FROM build_steps WHERE diff_id IS NOT NULL
        UNION SELECT child FROM reachable JOIN blob_links ON parent = reachable.digest
    )
"""


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    media_type: str
    size_bytes: int
    diff_id: str | None = None
    """Of a layer that was unpacked from it: the digest of the plain tar."""


class ContentRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, digest: str) -> Blob | None:
        rows = self._database.query("SELECT * FROM blobs WHERE digest = ?", (digest,))
        return Blob(**rows[0]) if rows else None

    def all(self) -> list[Blob]:
        return [Blob(**row) for row in self._database.query("SELECT * FROM blobs")]

    def of_diff(self, diff_id: str) -> list[Blob]:
        """The blobs that a layer can be unpacked from."""
        rows = self._database.query(
            "SELECT * FROM blobs WHERE diff_id = ? ORDER BY size_bytes", (diff_id,)
        )
        return [Blob(**row) for row in rows]

    def add(self, blob: Blob, lease: int | None = None) -> None:
        """Its file is there. The lease, which is made already, has it from now on."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO blobs(digest, media_type, size_bytes, diff_id) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (digest) DO UPDATE SET size_bytes = excluded.size_bytes, "
                "diff_id = coalesce(excluded.diff_id, diff_id)",
                (blob.digest, blob.media_type, blob.size_bytes, blob.diff_id),
            )
            if lease is not None:
                self.hold(lease, (blob.digest,))

    def set_diff_id(self, digest: str, diff_id: str) -> None:
        with self._database.transaction() as db:
            db.execute("UPDATE blobs SET diff_id = ? WHERE digest = ?", (diff_id, digest))

    def links(self, parent: str) -> tuple[str, ...]:
        rows = self._database.query(
            "SELECT child FROM blob_links WHERE parent = ? ORDER BY position", (parent,)
        )
        return tuple(row["child"] for row in rows)

    def set_links(self, parent: str, children: Sequence[str]) -> None:
        """What the blob refers to, in its order; it has a row."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM blob_links WHERE parent = ?", (parent,))
            db.executemany(
                "INSERT INTO blob_links(parent, position, child) VALUES (?, ?, ?)",
                [(parent, n, child) for n, child in enumerate(children)],
            )

    def delete_unused(self) -> list[str]:
        """Deletes the rows of blobs that no image, name or lease leads to; their digests."""
        with self._database.transaction() as db:
            rows = db.execute(
                f"{_REACHABLE} SELECT digest FROM blobs WHERE digest NOT IN reachable"  # noqa: S608
            ).fetchall()
            digests = [row["digest"] for row in rows]
            db.executemany("DELETE FROM blobs WHERE digest = ?", [(d,) for d in digests])
        return digests

    def open_lease(self, owner: str) -> int:
        """Its number. `owner` is for people to read."""
        with self._database.transaction() as db:
            number = db.execute(
                "INSERT INTO leases(owner, made_ns) VALUES (?, ?)", (owner, time.time_ns())
            ).lastrowid
        assert number is not None  # noqa: S101 -- an INSERT that did not raise has a row id
        return number

    def hold(self, lease: int, digests: Iterable[str]) -> None:
        """Blobs and layers, present or to come."""
        with self._database.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO lease_digests(lease, digest) VALUES (?, ?)",
                [(lease, digest) for digest in digests],
            )

    def end_lease(self, lease: int) -> None:
        with self._database.transaction(essential=True) as db:
            db.execute("DELETE FROM leases WHERE number = ?", (lease,))

    def end_leases(self) -> None:
        """At the agent's start: whoever had one is gone."""
        if self._database.query("SELECT number FROM leases LIMIT 1"):
            with self._database.transaction(essential=True) as db:
                db.execute("DELETE FROM leases")
