"""Records of build steps whose results are kept. Rows in, rows out; it touches no file.

Every function that writes takes part in the transaction its caller holds, or is one itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    key: str
    chain_id: str | None
    """Of its layer; None: it changed no file."""
    diff_id: str | None
    size_bytes: int
    history: str
    """JSON: its entry in an image's history."""
    created_ns: int
    used_ns: int
    uses: int


class StepRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> StepRecord | None:
        rows = self._database.query("SELECT * FROM build_steps WHERE key = ?", (key,))
        return StepRecord(**rows[0]) if rows else None

    def all(self) -> list[StepRecord]:
        """The one used longest ago first."""
        rows = self._database.query("SELECT * FROM build_steps ORDER BY used_ns, key")
        return [StepRecord(**row) for row in rows]

    def add(self, step: StepRecord) -> None:
        """One that is there is replaced: it was made again."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO build_steps(key, chain_id, diff_id, size_bytes, history, "
                "created_ns, used_ns, uses) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(step.key, step.chain_id, step.diff_id, step.size_bytes, step.history),
                    *(step.created_ns, step.used_ns, step.uses),
                ),
            )

    def use(self, key: str, used_ns: int) -> None:
        with self._database.transaction() as db:
            db.execute(
                "UPDATE build_steps SET used_ns = ?, uses = uses + 1 WHERE key = ?", (used_ns, key)
            )

    def delete(self, keys: Iterable[str]) -> None:
        with self._database.transaction(essential=True) as db:
            db.executemany("DELETE FROM build_steps WHERE key = ?", [(key,) for key in keys])

    def chains_of_images(self) -> set[str]:
        """The layers that images have as well."""
        rows = self._database.query("SELECT DISTINCT chain_id FROM image_layers")
        return {row["chain_id"] for row in rows}
