"""What the agent knows of its own doing for targets, by what it does. Rows in, rows out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cgagent.store.database import Database


class StateRows:
    """Of one `kind` of doing, such as budgets. A target is named by its key, `container:ID`."""

    def __init__(self, database: Database, kind: str) -> None:
        self._database = database
        self._kind = kind

    def all(self) -> dict[str, str]:
        """Documents by target."""
        rows = self._database.query(
            "SELECT target, document FROM target_states WHERE kind = ?", (self._kind,)
        )
        return {row["target"]: row["document"] for row in rows}

    def put(self, documents: Mapping[str, str]) -> None:
        """All of them in one transaction."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO target_states (kind, target, document) VALUES (?, ?, ?)",
                [(self._kind, target, document) for target, document in documents.items()],
            )

    def delete(self, targets: Iterable[str]) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.executemany(
                "DELETE FROM target_states WHERE kind = ? AND target = ?",
                [(self._kind, target) for target in targets],
            )
