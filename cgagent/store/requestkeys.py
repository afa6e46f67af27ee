"""Keys of requests that make something, and what each has made: the same key makes it once.

A row is written in the transaction that keeps the object itself: whatever dies in between, there
are both or neither.
"""

from __future__ import annotations

import contextlib
import sqlite3
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    caller: str
    key: str
    fingerprint: bytes
    """SHA-256 of what was asked for."""
    kind: str
    """Of the object that is made: container, network, volume or exec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    fingerprint: bytes
    object: str
    """Its id, or the name of a volume."""
    answer: str | None
    """JSON; None: the agent died before it had one."""


_current: ContextVar[RequestKey | None] = ContextVar("request key", default=None)


@contextlib.contextmanager
def keyed(key: RequestKey) -> Iterator[None]:
    """What is made in the body is made by this request."""
    before = _current.set(key)
    try:
        yield
    finally:
        _current.reset(before)


def note(connection: sqlite3.Connection, kind: str, object_: str, made_ns: int) -> None:
    """In the transaction that keeps a new object: it was made by the request that is at work."""
    key = _current.get()
    if key is None or key.kind != kind:
        return
    try:
        connection.execute(
            "INSERT INTO request_keys (caller, key, fingerprint, object, made_ns) "
            "VALUES (?, ?, ?, ?, ?)",
            (key.caller, key.key, key.fingerprint, object_, made_ns),
        )
    except sqlite3.IntegrityError:
        raise ConflictError(f"idempotency key {key.key!r} has made another {kind} before") from None


class RequestKeyRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, kind: str, object_: str, made_ns: int) -> None:
        """As the function, of an object that the database has not."""
        if _current.get() is not None:
            with self._database.transaction() as connection:
                note(connection, kind, object_, made_ns)

    def get(self, caller: str, key: str) -> KeyRow | None:
        rows = self._database.query(
            "SELECT fingerprint, object, answer FROM request_keys WHERE caller = ? AND key = ?",
            (caller, key),
        )
        return KeyRow(**dict(rows[0])) if rows else None

    def answered(self, key: RequestKey, object_: str, answer: str, made_ns: int) -> None:
        """What its request was answered with; also of an object that was there before."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO request_keys (caller, key, fingerprint, object, made_ns, answer) "
                "VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (caller, key) DO UPDATE SET answer = excluded.answer",
                (key.caller, key.key, key.fingerprint, object_, made_ns, answer),
            )

    def forget(self, caller: str, key: str) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.execute(
                "DELETE FROM request_keys WHERE caller = ? AND key = ?", (caller, key)
            )

    def prune(self, before_ns: int, most: int) -> None:
        """All that are older, and all but the latest so many."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM request_keys WHERE made_ns < ? OR made_ns < "
                "(SELECT made_ns FROM request_keys ORDER BY made_ns DESC LIMIT 1 OFFSET ?)",
                (before_ns, most - 1),
            )
