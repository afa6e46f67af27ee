"""What builds have left to be used again: cached steps and directories, listed and pruned."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import CgagentError
from cgagent.units import parse_size, show_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cgagent.engine.build.caches import Caches
    from cgagent.engine.jobs import Job, Jobs
    from cgagent.images.building import Building

log = logging.getLogger(__name__)

_BEFORE: Final = frozenset({"build", "rmi", "image prune"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One of them. Times are Unix seconds."""

    id: str
    kind: str
    """``step``, or ``cache mount``."""
    description: str
    size_bytes: int
    """Of a step's layer that no image has; of one that an image has it is 0."""
    in_use: bool
    shared: bool
    """An image has its layer."""
    created_s: float
    used_s: float
    uses: int


class BuildCache:
    """`size` is what may be kept: bytes, or a share of the disk that `data_root` is on."""

    def __init__(
        self, building: Building, caches: Caches, jobs: Jobs, size: str, data_root: Path
    ) -> None:
        self._size = size
        self._data_root = data_root
        self._bounding: asyncio.Task[None] | None = None
        self._is_due = False
        self._building = building
        self._caches = caches
        self._jobs = jobs

    async def all(self) -> list[Kept]:
        return await asyncio.to_thread(self._all)

    def _all(self) -> list[Kept]:
        of_images = self._building.steps.chains_of_images()
        found = []
        counted: set[str] = set()
        for step in self._building.steps.all():
            shared = step.chain_id in of_images
            is_first = step.chain_id is not None and step.chain_id not in counted
            counted |= {step.chain_id} if step.chain_id else set()
            found.append(
                Kept(
                    id=step.key.removeprefix("sha256:"),
                    kind="step",
                    description=json.loads(step.history).get("created_by", ""),
                    size_bytes=step.size_bytes if is_first and not shared else 0,
                    in_use=False,
                    shared=shared,
                    created_s=step.created_ns / 1e9,
                    used_s=step.used_ns / 1e9,
                    uses=step.uses,
                )
            )
        found += [
            Kept(
                id=one.name,
                kind="cache mount",
                description=f"mount of type=cache, id {one.id}",
                size_bytes=one.size_bytes,
                in_use=one.in_use,
                shared=False,
                created_s=one.used_s,
                used_s=one.used_s,
                uses=1,
            )
            for one in self._caches.all()
        ]
        return found

    async def prune(
        self,
        *,
        until_s: float | None = None,
        keep_bytes: int = 0,
        ids: frozenset[str] = frozenset(),
    ) -> tuple[list[str], int]:
        """Delete what no build uses now; the ids, and the bytes that became free.

        `until_s`: only what was used last before that time. `keep_bytes`: of what was used last
        so much stays. `ids`: only these, by the beginnings of their ids.
        """
        async with self._jobs.run("build prune"):
            chosen = [
                one
                for one in _beyond(await self.all(), keep_bytes)
                if (until_s is None or one.used_s < until_s)
                and (not ids or any(one.id.startswith(some) for some in ids))
            ]
            return await asyncio.to_thread(self._remove, chosen)

    def observe(self, job: Job) -> None:
        """A build leaves more; and what was an image's as well is the cache's alone without it."""
        if job.name in _BEFORE:
            self.bound()

    def bound(self) -> None:
        """Nobody waits until there is no more than may be kept."""
        self._is_due = True
        if self._bounding is None or self._bounding.done():
            self._bounding = asyncio.create_task(self._bounded())

    async def _bounded(self) -> None:
        while self._is_due:
            self._is_due = False
            await asyncio.to_thread(self._bound)

    def _bound(self) -> None:
        try:
            kept, limit = self._all(), self.limit_bytes()
            if sum(one.size_bytes for one in kept) > limit:
                removed, freed = self._remove(_beyond(kept, limit))
                log.info(
                    "the build cache was over %s: %s freed", show_size(limit), show_size(freed)
                )
                log.debug("no more in the build cache: %s", " ".join(removed))
        except (CgagentError, OSError) as e:  # the next job tries again
            log.warning("the build cache is not known to be within its size: %s", e)

    def limit_bytes(self) -> int:
        if not self._size.endswith("%"):
            return parse_size(self._size, "build-cache-size")
        return shutil.disk_usage(self._data_root).total * int(self._size[:-1]) // 100

    async def close(self) -> None:
        """Wait for what goes on beside the builds."""
        if self._bounding is not None:
            await asyncio.wait([self._bounding])

    def _remove(self, chosen: Iterable[Kept]) -> tuple[list[str], int]:
        chosen = list(chosen)
        steps = [one for one in chosen if one.kind == "step"]
        freed = self._building.forget([f"sha256:{one.id}" for one in steps])
        removed = [one.id for one in steps]
        for one in chosen:
            if one.kind != "step" and self._caches.remove(one.id):
                removed.append(one.id)
                freed += one.size_bytes
        return removed, freed


def _beyond(kept: Iterable[Kept], keep_bytes: int) -> Iterator[Kept]:
    """What no build uses now, but for as much as may stay of what was used last."""
    held = 0
    for one in sorted(kept, key=lambda one: one.used_s, reverse=True):
        held += one.size_bytes
        if not one.in_use and (held > keep_bytes or not keep_bytes):
            yield one
