"""The agent's one SQLite database: opening, schema, transactions, and what its errors mean.

It is not an object mapper: the records modules beside it write their own SQL. The agent
owns one `Database` from start to stop.

There is one connection, guarded by a lock, for the event loop's thread and the worker
threads alike. A write takes well under a millisecond (WAL, synchronous=NORMAL), so a thread
hardly ever waits, and SQLite admits one writer at a time anyhow; connections per thread would
be as many caches and open files as the thread pool has had threads, and "database is locked"
to handle besides.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InternalError, UnsupportedError
from cgagent.store.disk import disk_full_is_no_space, no_space
from cgagent.store.migrations import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BUSY_TIMEOUT_S: Final = 10.0
"""Somebody may look into the file with the sqlite3 shell while the agent runs."""

_CACHE_KIB: Final = 512
"""Of SQLite's own 2,000 all would be pages of old events in time: the kernel has those as well."""


class Database:
    """`<data_root>/cgagent.db`, migrated to this version's schema.

    Raises:
        NoSpaceError: the disk is full.
        UnsupportedError: the file was written by a later cgagent.
        InternalError: the file is no database or is damaged.
    """

    def __init__(self, data_root: Path) -> None:
        self.path = data_root / "cgagent.db"
        self._lock = threading.RLock()
        with disk_full_is_no_space(f"database {self.path}"):
            data_root.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,  # transactions begin and end where this class says
            check_same_thread=False,
        )
        try:
            with self._errors("open"):
                self._connection.row_factory = sqlite3.Row
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One atomic change; a transaction begun inside another is part of it.

        Holds the lock: never await inside, and do nothing slow.
        """
        with self._lock, self._errors("write"):
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Every row of one SELECT."""
        with self._lock, self._errors("read"):
            return self._connection.execute(sql, parameters).fetchall()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # when the disk is full SQLite has done it itself
            self._connection.execute("ROLLBACK")

    def _migrate(self) -> None:
        with self.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise UnsupportedError(
                    f"database {self.path} has schema {version}, written by a later cgagent; "
                    f"this one knows up to {len(MIGRATIONS)}: upgrade cgagent or use another "
                    "data root"
                )
            for script in MIGRATIONS[version:]:
                for statement in _statements(script):
                    connection.execute(statement)
            # A pragma takes no parameters; the value is an int of ours.
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # the records module knows what a broken constraint means
        except sqlite3.Error as e:
            if getattr(e, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise no_space(f"database {self.path}") from e
            raise InternalError(f"database {self.path}: cannot {operation}: {e}") from e


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit first, so a failing migration could not be rolled back."""
    statement = ""
    for line in script.split("\n"):
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
