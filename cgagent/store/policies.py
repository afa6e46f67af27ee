"""Rulesets that were added, what is in force of them, and what was decided. Rows in, rows out."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesetRow:
    name: str
    document: str
    """JSON, as it was asked for."""
    created_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRow:
    """A grade that is in force, or is about to be: its row comes before it and goes after it."""

    policy: str
    watched: str
    """The key of the target that was looked at."""
    grade: int
    victim: str
    """The key of the target that is acted on."""
    action: str
    since_ns: int
    document: str
    """JSON: what undoing it takes."""


@dataclass(slots=True, kw_only=True)
class DecisionRow:
    number: int = 0
    """Its place among all; it is given when it is kept."""
    time_ns: int
    policy: str
    watched: str
    """The target that was looked at, for people."""
    action: str
    container: str
    """The id of the container that it is about; empty: a group, a cgroup, or the host."""
    group: str
    """The name of the group of containers that it is about, as one; empty otherwise."""
    target: str
    """Its name, or the path of a cgroup."""
    outcome: str
    reason: str


class PolicyRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def rulesets(self) -> list[RulesetRow]:
        rows = self._database.query("SELECT name, document, created_ns FROM rulesets ORDER BY name")
        return [RulesetRow(**dict(row)) for row in rows]

    def put(self, rows: list[RulesetRow]) -> None:
        """Keep all of them; one of the same name is replaced."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO rulesets (name, document, created_ns) VALUES (?, ?, ?)",
                map(astuple, rows),
            )

    def delete(self, name: str) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.execute("DELETE FROM rulesets WHERE name = ?", (name,))

    def holds(self) -> list[HoldRow]:
        """The oldest first."""
        rows = self._database.query(
            "SELECT policy, watched, grade, victim, action, since_ns, document FROM policy_holds "
            "ORDER BY since_ns"
        )
        return [_hold(row) for row in rows]

    def hold(self, row: HoldRow) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO policy_holds "
                "(policy, watched, grade, victim, action, since_ns, document) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                astuple(replace(row, watched=_key(row.watched), victim=_key(row.victim))),
            )

    def let_go(self, row: HoldRow) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.execute(
                "DELETE FROM policy_holds WHERE policy = ? AND watched = ? AND grade = ? "
                "AND victim = ?",
                (row.policy, _key(row.watched), row.grade, _key(row.victim)),
            )

    def insert(self, row: DecisionRow) -> None:
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO decisions "
                "(time_ns, policy, watched, action, container, of_group, target, outcome, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                tuple(map(_readable, astuple(row)[1:])),
            )
        row.number = cursor.lastrowid or 0

    def before(
        self, number: int, count: int, *, policy: str, container: str, group: str
    ) -> list[DecisionRow]:
        """So many of those with a smaller number, the newest first; empty: of all."""
        rows = self._database.query(
            'SELECT number, time_ns, policy, watched, action, container, of_group AS "group", '
            "target, outcome, reason FROM decisions WHERE number < ? "
            "AND ? IN ('', policy) AND ? IN ('', container) AND ? IN ('', of_group) "
            "ORDER BY number DESC LIMIT ?",
            (number, policy, container, group, count),
        )
        return [_decision(row) for row in rows]

    def prune(self, kept: int) -> None:
        """All decisions but the last so many."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM decisions WHERE number <= (SELECT max(number) FROM decisions) - ?",
                (kept,),
            )


def _decision(row: sqlite3.Row) -> DecisionRow:
    return DecisionRow(**dict(row))


def _hold(row: sqlite3.Row) -> HoldRow:
    keys = {name: _key_of(row[name]) for name in ("watched", "victim")}
    return HoldRow(**{**dict(row), **keys})


def _key(text: str) -> str:
    """A target's key as it is kept: in JSON, which no key is, where it is not UTF-8."""
    return text if _is_utf8(text) else json.dumps(text)


def _key_of(kept: str) -> str:
    return str(json.loads(kept)) if kept.startswith('"') else kept


def _is_utf8(text: str) -> bool:
    """A cgroup's name need not be; Python has lone surrogates for it then (PEP 383)."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _readable(value: Any) -> Any:
    """For people."""
    if not isinstance(value, str) or _is_utf8(value):
        return value
    return value.encode(errors="surrogateescape").decode(errors="backslashreplace")
