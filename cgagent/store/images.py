"""Records of images, their layers and names. Rows in, rows out; it touches no file.

Every function that writes takes part in the transaction its caller holds, or is one itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cgagent.store.database import Database

_DELETE_REMOVED: Final = """
    DELETE FROM images WHERE removed
    AND NOT EXISTS (SELECT 1 FROM rootfs WHERE rootfs.image_id = images.id)
"""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    number: int
    chain_id: str
    diff_id: str
    size_bytes: int
    boot_id: str | None = None
    """The boot in which it was unpacked, while not all of it may be on disk."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as stored: `config` is its raw JSON, `layers` are bottom first."""

    id: str
    config: bytes
    manifest: str | None
    targets: Mapping[str, str]
    """By name, the digest that it stands for: an index's, a manifest's, or the config's."""
    layers: tuple[LayerRecord, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.targets)


class ImageRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self, *, essential: bool = False) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction(essential=essential)

    def get(self, image_id: str) -> ImageRecord | None:
        rows = self._database.query("SELECT * FROM images WHERE id = ?", (image_id,))
        return self._record(rows[0]) if rows else None

    def all(self, *, removed: bool = False) -> list[ImageRecord]:
        """Latest added first; with those that were `removed` while containers stand on them?"""
        rows = self._database.query(
            "SELECT * FROM images WHERE removed <= ? ORDER BY added_ns DESC, id", (removed,)
        )
        return [self._record(row) for row in rows]

    def id_of(self, reference: str) -> str | None:
        rows = self._database.query(
            "SELECT image_id FROM image_names WHERE reference = ?", (reference,)
        )
        return rows[0]["image_id"] if rows else None

    def ids_with_prefix(self, prefix: str) -> list[str]:
        """`prefix` begins with ``sha256:`` and is otherwise lower-case hexadecimal."""
        rows = self._database.query(
            "SELECT id FROM images WHERE id >= ? AND id < ? AND NOT removed",
            (prefix, prefix + "g"),
        )
        return [row["id"] for row in rows]

    def add(
        self, image_id: str, config: bytes, manifest: str | None, chain_ids: Sequence[str]
    ) -> None:
        """An image that is there keeps its place in the list, and its manifest if this has none."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO images(id, config, manifest, added_ns) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET config = excluded.config, removed = 0, "
                "manifest = coalesce(excluded.manifest, manifest)",
                (image_id, config, manifest, time.time_ns()),
            )
            db.execute("DELETE FROM image_layers WHERE image_id = ?", (image_id,))
            db.executemany(
                "INSERT INTO image_layers(image_id, position, chain_id) VALUES (?, ?, ?)",
                [(image_id, n, chain_id) for n, chain_id in enumerate(chain_ids)],
            )

    def delete(self, image_id: str) -> None:
        with self._database.transaction() as db:
            db.execute("DELETE FROM images WHERE id = ?", (image_id,))

    def remove(self, image_id: str) -> None:
        """Deletes it, or hides it until no container's root stands on it."""
        with self._database.transaction() as db:
            db.execute("UPDATE images SET removed = 1 WHERE id = ?", (image_id,))
            db.execute(f"{_DELETE_REMOVED} AND id = ?", (image_id,))

    def set_name(self, reference: str, image_id: str, target: str) -> None:
        """Takes the name from the image that had it."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO image_names(reference, image_id, target) VALUES (?, ?, ?) "
                "ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id, "
                "target = excluded.target",
                (reference, image_id, target),
            )

    def drop_names(self, references: Iterable[str]) -> None:
        with self._database.transaction() as db:
            db.executemany(
                "DELETE FROM image_names WHERE reference = ?", [(name,) for name in references]
            )

    def layer(self, chain_id: str) -> LayerRecord | None:
        rows = self._database.query(
            "SELECT * FROM layers WHERE chain_id = ?",
            (chain_id,),
        )
        return _layer(rows[0]) if rows else None

    def layers(self) -> list[LayerRecord]:
        rows = self._database.query("SELECT * FROM layers")
        return [_layer(row) for row in rows]

    def delete_unused_layers(self) -> list[LayerRecord]:
        """Deletes the rows of layers that no image, lease or cached step has; top ones first."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM layers WHERE chain_id NOT IN (SELECT chain_id FROM image_layers) "
                "AND chain_id NOT IN (SELECT digest FROM lease_digests) AND chain_id NOT IN "
                "(SELECT chain_id FROM build_steps WHERE chain_id IS NOT NULL) "
                "ORDER BY number DESC"
            ).fetchall()
            db.executemany("DELETE FROM layers WHERE number = ?", [(r["number"],) for r in rows])
        return [_layer(row) for row in rows]

    def add_layer(
        self, chain_id: str, diff_id: str, size_bytes: int, boot_id: str | None
    ) -> LayerRecord:
        """One that is there keeps its number."""
        with self._database.transaction() as db:
            row = db.execute(
                "INSERT INTO layers(chain_id, diff_id, size_bytes, boot_id) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (chain_id) DO UPDATE SET size_bytes = excluded.size_bytes, "
                "boot_id = excluded.boot_id RETURNING *",
                (chain_id, diff_id, size_bytes, boot_id),
            ).fetchone()
        return _layer(row)

    def restore_layer(self, layer: LayerRecord) -> None:
        """One that the database has lost, under its number."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO layers(number, chain_id, diff_id, size_bytes, boot_id) "
                "VALUES (?, ?, ?, ?, ?)",
                (layer.number, layer.chain_id, layer.diff_id, layer.size_bytes, layer.boot_id),
            )

    def settle_layers(self, layers: Iterable[LayerRecord]) -> None:
        """All their files are on disk."""
        with self._database.transaction() as db:
            db.executemany(
                "UPDATE layers SET boot_id = NULL WHERE number = ?", [(x.number,) for x in layers]
            )

    def rootfs_users(self, image_id: str) -> list[str]:
        """Identifiers of the containers whose root file system stands on the image."""
        rows = self._database.query(
            "SELECT container_id FROM rootfs WHERE image_id = ? ORDER BY container_id", (image_id,)
        )
        return [row["container_id"] for row in rows]

    def rootfs_containers(self) -> list[str]:
        return [row["container_id"] for row in self._database.query("SELECT * FROM rootfs")]

    def add_rootfs(self, container_id: str, image_id: str) -> None:
        """Raises `sqlite3.IntegrityError` when the image is gone or the container has one."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO rootfs(container_id, image_id) VALUES (?, ?)",
                (container_id, image_id),
            )

    def add_step_rootfs(
        self, container_id: str, image_id: str, config: bytes, chain_ids: Sequence[str]
    ) -> None:
        """A root on the layers of a build's step, which are no image that anybody sees.

        Raises `sqlite3.IntegrityError` when a layer is gone or the container has one.
        """
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO images(id, config, added_ns, removed) VALUES (?, ?, ?, 1)",
                (image_id, config, time.time_ns()),
            )
            db.executemany(
                "INSERT OR IGNORE INTO image_layers(image_id, position, chain_id) VALUES (?, ?, ?)",
                [(image_id, n, chain_id) for n, chain_id in enumerate(chain_ids)],
            )
            self.add_rootfs(container_id, image_id)

    def delete_rootfs(self, container_id: str) -> bool:
        """Whether the image, which was removed by force, went with it."""
        with self._database.transaction(essential=True) as db:
            found = db.execute(
                "DELETE FROM rootfs WHERE container_id = ? RETURNING image_id", (container_id,)
            ).fetchall()
            gone = [
                db.execute(f"{_DELETE_REMOVED} AND id = ?", (row["image_id"],)).rowcount
                for row in found
            ]
        return any(gone)

    def _record(self, row: sqlite3.Row) -> ImageRecord:
        image_id = row["id"]
        names = self._database.query(
            "SELECT reference, target FROM image_names WHERE image_id = ? ORDER BY reference",
            (image_id,),
        )
        layers = self._database.query(
            "SELECT layers.* FROM image_layers JOIN layers USING (chain_id) WHERE image_id = ? "
            "ORDER BY position",
            (image_id,),
        )
        return ImageRecord(
            image_id,
            row["config"],
            row["manifest"],
            {name["reference"]: name["target"] for name in names},
            tuple(_layer(layer) for layer in layers),
        )


def _layer(row: sqlite3.Row) -> LayerRecord:
    return LayerRecord(**row)
