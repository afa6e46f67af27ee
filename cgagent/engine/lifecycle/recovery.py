"""A database that was emptied, damaged, deleted or put back from a copy: what it lost comes back.

Containers, images and layers have second copies of their rows on disk, see
`cgagent.store.recordfiles`. An agent that finds such records beside a database without any rows
does not start: it would take all it finds for left over. ``cgagent system recover``, or ``serve
--adopt-lost``, says that the records are to be believed. Where only some rows are missing they are
made again at each start.

Nothing is deleted here. A directory with a record that cannot be understood goes to
``<data root>/lost+found`` until somebody prunes that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.errors import ConflictError
from cgagent.images.unpack.trees import remove_tree
from cgagent.store import Database, recordfiles
from cgagent.store.containers import RECORD_FILE
from cgagent.store.database import DamagedDatabaseError

if TYPE_CHECKING:
    from pathlib import Path

    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.images.store import Images

log = logging.getLogger(__name__)


def open_database(data_root: Path, *, adopt_lost: bool) -> Database:
    """The database of a data root; a damaged one is set aside if `adopt_lost`.

    Raises:
        ConflictError: it has no rows, the data root has records, and `adopt_lost` was not given.
        DamagedDatabaseError: it is damaged, and `adopt_lost` was not given.
    """
    path = data_root / "cgagent.db"
    _set_apart_unreleased(data_root, path)
    if not adopt_lost and Database.is_blank(path) and (found := _count(data_root)):
        raise ConflictError(
            f"database {path} is empty, but {data_root} has records of {found}: 'cgagent system "
            "recover' (or 'cgagent serve --adopt-lost') rebuilds the database from them; to begin "
            f"anew, move {data_root} away"
        )
    try:
        return Database(data_root)
    except DamagedDatabaseError:
        if not adopt_lost:
            raise
    aside = _set_aside(path)
    log.warning("database %s is damaged: it is kept as %s and made anew", path, aside)
    return Database(data_root)


def _set_apart_unreleased(data_root: Path, path: Path) -> None:
    """Move what a version before the first release has left, as no version reads its form.

    Volumes stay: their files are anybody's.
    """
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
        try:
            found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error:  # damaged: dealt with where it is opened
            return
    if "images" not in found or "blobs" in found:
        return
    apart = data_root / f"unreleased-{time.time_ns()}"
    apart.mkdir(mode=0o700)
    for entry in list(data_root.iterdir()):
        if entry.name not in {"agent.lock", "volumes", apart.name}:
            os.rename(entry, apart / entry.name)
    log.warning("%s was that of an unreleased version: its contents are in %s", data_root, apart)


def _count(data_root: Path) -> str:
    """How much there are records of; empty: nothing."""
    containers = sum(map(_is_record, data_root.glob(f"containers/*/{RECORD_FILE}")))
    images = len(list(data_root.glob("images/*.json")))
    found = [(containers, "container"), (images, "image")]
    return " and ".join(f"{n} {what}{'s' if n > 1 else ''}" for n, what in found if n)


def _is_record(path: Path) -> bool:
    """A damaged one is one, too: it is to be kept."""
    try:
        return recordfiles.read(path) is not None
    except recordfiles.DamagedRecordError:
        return True


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("-wal", "-shm"):
        if path.with_name(path.name + suffix).exists():
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(path, aside)
    return aside


class Recovery:
    """Used by the engine at its start, and whenever somebody asks for it."""

    def __init__(
        self, containers: Containers, images: Images, events: Events, data_root: Path
    ) -> None:
        self._containers = containers
        self._images = images
        self._events = events
        self._data_root = data_root
        self.lost_and_found = data_root / "lost+found"
        self.found: tuple[str, ...] = ()
        """What this agent has brought back, a line each."""

    def images(self) -> None:
        """Make images whose rows are lost again."""
        for line in self._images.recover():
            self._tell(line)

    def containers(self) -> None:
        """Make containers whose rows are lost again.

        How their last run went is read from what the supervisor knows and has written; none of
        them is started by its restart policy.
        """
        recovered = self._containers.recover()
        for container in recovered:
            self._settle(container)
            self._tell(f"container {container.name} was lost and is there again")
            self._events.tell(container, "recover")
        records = [container.record for container in self._containers]
        self._images.stand_on((r.id, r.image_id, r.rootfs) for r in records if r.rootfs)

    def _tell(self, line: str) -> None:
        self.found += (line,)
        log.warning("%s", line)

    def _settle(self, container: Container) -> None:
        record = container.record
        outcome = record.outcome
        if record.adopted is None and outcome.status == "restarting":
            outcome = replace(outcome, status="exited")
        restart = replace(record.restart, due_ns=None, held=True)
        self._containers.save(container, replace(record, outcome=outcome, restart=restart))

    # -- what cannot be understood ----------------------------------------------------------

    def set_apart(self, container_id: str) -> None:
        """Move a container's files to lost+found and tell of it."""
        where = self.lost_and_found / container_id
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(self._data_root / "containers" / container_id, where / "container")
        self._images.set_apart(container_id, where / "root")
        log.warning("container %s: its record is damaged; its files are in %s", container_id, where)
        attributes = {"path": str(where), "reason": "its record is damaged"}
        self._events.publish("container", "lost", container_id, attributes)

    def lost(self) -> list[str]:
        """The names in lost+found."""
        return sorted(os.listdir(self.lost_and_found)) if self.lost_and_found.exists() else []

    async def prune(self) -> list[str]:
        """Delete what is in lost+found; the names."""
        names = self.lost()
        for name in names:
            await asyncio.to_thread(remove_tree, os.fsencode(self.lost_and_found / name))
        return names
