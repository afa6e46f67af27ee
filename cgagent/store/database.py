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

import contextlib
import logging
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InternalError, UnsupportedError
from cgagent.store.checkpoints import Checkpoints
from cgagent.store.disk import disk_full_is_no_space, no_space
from cgagent.store.migrations import MIGRATIONS
from cgagent.store.reserve import Reserve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_BUSY_TIMEOUT_S: Final = 0.5
"""Somebody may look into the file with the sqlite3 shell while the agent runs, and hold it locked:
the event loop waits with us."""

_HEADER_BYTES: Final = 100
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_CACHE_KIB: Final = 512
"""Of SQLite's own 2,000 all would be pages of old events in time: the kernel has those as well."""


class DamagedDatabaseError(InternalError):
    """The file is no database, or parts of it are not what SQLite wrote."""


class Database:
    """`<data_root>/cgagent.db`, migrated to this version's schema.

    Raises:
        NoSpaceError: the disk is full.
        UnsupportedError: the file was written by a later cgagent.
        DamagedDatabaseError: the file is no database or is damaged.
    """

    def __init__(self, data_root: Path) -> None:
        self.path = data_root / "cgagent.db"
        self._lock = threading.RLock()
        self._reserve = Reserve(data_root / "reserve")
        self._checkpoints = Checkpoints(self.path)
        self._reserve.release()
        with disk_full_is_no_space(f"database {self.path}", self.path):
            data_root.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._open()
        try:
            with self._errors("open"):
                self._check()
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        with self._errors("open"):
            self._connection = sqlite3.connect(
                self.path,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,  # transactions begin and end where this class says
                check_same_thread=False,
            )
            try:
                self._connection.row_factory = sqlite3.Row
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # see Checkpoints
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            except BaseException:
                self._connection.close()
                raise
        self._inode = os.stat(self.path).st_ino

    def _stay(self) -> None:
        """A file that was deleted or replaced while we have it open is written again.

        What had replaced it is kept beside it. The caller holds the lock.
        """
        try:
            if os.stat(self.path).st_ino == self._inode:
                return
            aside = f"{self.path}.replaced-{time.time_ns()}"
            os.rename(self.path, aside)
        except FileNotFoundError:
            aside = ""
        log.error(
            "database %s was %s while in use; it is written again from what is open",
            self.path,
            f"replaced (by what is {aside} now)" if aside else "deleted",
        )
        draft = self.path.with_name(f"{self.path.name}.new")
        draft.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(draft)) as copy:
            self._connection.backup(copy)
        draft.chmod(0o600)
        self._connection.close()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        draft.rename(self.path)
        self._open()

    @staticmethod
    def is_blank(path: Path) -> bool:
        """Is there no database in the file yet, or no file?"""
        try:
            with path.open("rb") as file:
                header = file.read(_HEADER_BYTES)
        except FileNotFoundError:
            return True
        wal = path.with_name(f"{path.name}-wal")
        return not header and not (wal.exists() and wal.stat().st_size)

    def _check(self) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()  # 5 ms
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def free_bytes(self) -> int:
        """Of the disk that the data root is on."""
        return self._reserve.free_bytes()

    def close(self) -> None:
        self._checkpoints.close()
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self, *, essential: bool = False) -> Iterator[sqlite3.Connection]:
        """One atomic change; a transaction begun inside another is part of it.

        An `essential` one tells what has happened anyway or frees room: where the disk is full it
        may use the last reserve. Holds the lock: never await inside, and do nothing slow.
        """
        with self._lock, self._errors("write"):
            if self._connection.in_transaction:
                yield self._connection
                return
            self._stay()
            if essential:
                self._reserve.release()
            else:
                self._reserve.settle()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            self._checkpoints.wrote(self._connection.total_changes)

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
            if version == len(MIGRATIONS):
                return  # nothing is written: the disk may be full
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
            if getattr(e, "sqlite_errorcode", None) in _FULL:
                raise no_space(f"database {self.path}", self.path) from e
            message = f"database {self.path}: cannot {operation}: {e}"
            code = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # none: by quick_check
            if code in _DAMAGED and operation == "open":
                raise DamagedDatabaseError(
                    f"{message}; 'cgagent system recover' (or 'cgagent serve --adopt-lost') keeps "
                    "it aside and makes a new one of the records of containers and images"
                ) from e
            raise InternalError(message) from e


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit first, so a failing migration could not be rolled back."""
    statement = ""
    for line in script.split("\n"):
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
