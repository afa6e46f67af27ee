"""Volumes: directories that outlive containers, by name, below ``<data root>/volumes``.

``<name>/_data`` is what a container sees. A container that is there, running or not, keeps its
volumes from being removed; one that is being made holds them meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.containers.names import check_volume_name, new_id
from cgagent.engine.volumes import populate
from cgagent.errors import CgagentError, ConflictError, NotFoundError
from cgagent.images.unpack.trees import remove_tree
from cgagent.metrics import disk_usage
from cgagent.store.disk import disk_full_is_no_space
from cgagent.store.volumes import VolumeRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.filters import PruneFilters
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.options.mounts import MountSpec
    from cgagent.store.volumes import VolumeRows

log = logging.getLogger(__name__)

DATA: Final = "_data"
_FRESH: Final = "_fresh"
_REMOVED: Final = ".removed-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """`users` has the names of the containers that have it."""

    row: VolumeRow
    mountpoint: str
    users: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.row.name


class Volumes:
    def __init__(
        self, directory: Path, rows: VolumeRows, containers: Containers, jobs: Jobs, events: Events
    ) -> None:
        self._directory = directory
        self._rows = rows
        self._containers = containers
        self._jobs = jobs
        self._events = events
        self._by_name = {row.name: row for row in rows.all()}
        self._held: Counter[str] = Counter()
        self._filling = asyncio.Lock()

    # -- looking ----------------------------------------------------------------------------

    def all(self) -> list[Volume]:
        """By name."""
        return [self.find(name) for name in sorted(self._by_name)]

    def find(self, name: str) -> Volume:
        """Raises NotFoundError."""
        row = self._by_name.get(name)
        if row is None:
            raise NotFoundError(f"volume {name!r} does not exist; see cgagent volume ls")
        return Volume(row=row, mountpoint=self.path(name), users=tuple(self._users(name)))

    def path(self, name: str) -> str:
        """What is mounted of it."""
        return str(self._directory / name / DATA)

    def paths(self) -> dict[str, str]:
        """Of all, by name; for other threads."""
        return {name: self.path(name) for name in list(self._by_name)}

    def _users(self, name: str) -> list[str]:
        return [
            c.name
            for c in self._containers
            if any(m.type == "volume" and m.source == name for m in c.record.resolved.mounts)
        ]

    # -- making -----------------------------------------------------------------------------

    async def create(self, name: str | None, labels: dict[str, str]) -> Volume:
        """A new one; one of that name that is there is left as it is, as docker does.

        Raises:
            InvalidInputError: the name. NoSpaceError.
        """
        chosen = new_id() if not name else check_volume_name(name)
        async with self._jobs.run("volume create", volume=chosen):
            self._ensure(
                VolumeRow(name=chosen, created_ns=time.time_ns(), anonymous=not name, labels=labels)
            )
            return self.find(chosen)

    def _ensure(self, row: VolumeRow) -> bool:
        """Whether it was made now."""
        is_new = row.name not in self._by_name
        directory = self._directory / row.name
        try:
            with disk_full_is_no_space(f"volume {row.name}", directory):
                (directory / DATA).mkdir(mode=0o755, parents=True, exist_ok=True)
                self._directory.chmod(0o700)  # what is in a volume is nobody else's business
            if is_new:
                self._rows.insert(row)
        except BaseException:
            if is_new:
                _remove(directory)
            raise
        if is_new:
            self._by_name[row.name] = row
            self._events.publish("volume", "create", row.name, {"driver": "local"})
        return is_new

    @contextlib.asynccontextmanager
    async def held(self, mounts: Iterable[MountSpec]) -> AsyncIterator[None]:
        """Volumes of a container that is being made: made if need be, kept from removal.

        When the container comes to nothing, so do the volumes made for it.
        """
        wanted = {m.source: m for m in mounts if m.type == "volume"}
        made: list[str] = []
        self._held.update(wanted.keys())
        try:
            for name, mount in wanted.items():
                row = VolumeRow(
                    name=name,
                    created_ns=time.time_ns(),
                    anonymous=mount.anonymous,
                    labels=mount.labels,
                )
                if self._ensure(row):
                    made.append(name)
            yield
        except BaseException:
            self._held.subtract(wanted.keys())
            for name in made:
                with contextlib.suppress(ConflictError):  # somebody else wants it by now
                    await self._remove(name)
            raise
        self._held.subtract(wanted.keys())

    async def populate(
        self, mounts: Iterable[MountSpec], root: dict[str, Any], staging: str
    ) -> None:
        """Copy into empty volumes that nobody else has what the image has at their places.

        `root` is the OCI mount of the container's root file system, `staging` an empty directory.

        Raises:
            InternalError, NoSpaceError: nothing was copied.
        """
        async with self._filling:  # two containers may be the first of one volume
            copies = {
                m.destination: str(self._directory / m.source / _FRESH)
                for m in mounts
                if m.type == "volume" and not m.no_copy and self._is_unused(m.source)
            }
            if not copies:
                return
            try:
                filled = await populate.run(root, staging, copies)
                for fresh in filled:
                    os.rename(fresh, os.path.join(os.path.dirname(fresh), DATA))
            finally:
                for fresh in copies.values():
                    await asyncio.to_thread(_remove, fresh)

    def _is_unused(self, name: str) -> bool:
        return not self._users(name) and not os.listdir(self.path(name))

    # -- removing ---------------------------------------------------------------------------

    async def remove(self, name: str, *, force: bool = False) -> None:
        """With its content.

        Raises:
            NotFoundError: there is none, and `force` was not given.
            ConflictError: a container has it.
        """
        async with self._jobs.run("volume remove", volume=name):
            if force and name not in self._by_name:
                return
            await self._remove(name)

    async def _remove(self, name: str, leaving: str | None = None) -> None:
        """`leaving` is the name of a container that is being removed itself."""
        users = [user for user in self.find(name).users if user != leaving]
        if users or self._held[name] > 0:
            who = ", ".join(users) or "a container that is being created"
            raise ConflictError(f"volume {name} is in use by {who}; remove the container first")
        removed = self._directory / f"{_REMOVED}{new_id()}"  # another of that name may follow
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._directory / name, removed)
        self._rows.delete(name)
        del self._by_name[name]
        self._events.publish("volume", "destroy", name, {"driver": "local"})
        await asyncio.to_thread(_remove, removed)

    async def remove_anonymous(self, container: Container) -> None:
        """Those of a container that is being removed; one that another has by now stays."""
        for mount in container.record.resolved.mounts:
            if mount.type == "volume" and mount.anonymous:
                with contextlib.suppress(ConflictError, NotFoundError):
                    await self._remove(mount.source, container.name)

    async def prune(self, filters: PruneFilters, *, named: bool) -> tuple[list[str], int]:
        """Remove those that no container has, only anonymous ones unless `named`.

        Returns:
            Their names, and how many bytes their files took.
        """
        names, freed = [], 0
        async with self._jobs.run("volume prune"):
            for volume in self.all():
                row = volume.row
                if volume.users or not (named or row.anonymous):
                    continue
                if not filters.hold(row.created_ns, row.labels):
                    continue
                size, _ = await asyncio.to_thread(disk_usage, volume.mountpoint, lambda: False)
                with contextlib.suppress(CgagentError):  # in use meanwhile, or gone
                    await self._remove(volume.name)
                    names.append(volume.name)
                    freed += size
        return names, freed

    async def sweep(self) -> None:
        """At the agent's start: what is half-removed, half-made or half-copied goes.

        A directory that the database does not know is a volume again if it has files in it or a
        container has it: the database may have lost a row in a power cut, or be an older one.
        """
        if not self._directory.exists():
            return
        for entry in list(self._directory.iterdir()):
            is_lost = _has_files(entry) or self._users(entry.name)
            if entry.name not in self._by_name and not is_lost:
                await asyncio.to_thread(_remove, entry)
                continue
            await asyncio.to_thread(_remove, entry / _FRESH)
            if entry.name not in self._by_name:
                log.warning("volume %s was not in the database, and is there again", entry.name)
                created_ns = entry.stat().st_mtime_ns
                self._ensure(
                    VolumeRow(name=entry.name, created_ns=created_ns, anonymous=False, labels={})
                )


def _has_files(entry: Path) -> bool:
    """Of a volume, and not of what is left of one that was removed."""
    data = entry / DATA
    return not entry.name.startswith(".") and data.is_dir() and any(data.iterdir())


def _remove(path: Path | str) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(os.fsencode(path))
