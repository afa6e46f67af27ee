"""Directories of RUN --mount=type=cache: they outlive builds, until they are pruned.

``<data root>/build-cache/<name>/files``, where the name is made of the cache's id; ``cache.json``
beside it says which that is. Whoever uses one holds it in a set, so that none is pruned then.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import KeyedLock, to_its_end
from cgagent.engine.build.workspace import remove_directory
from cgagent.metrics import disk_usage
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from cgagent.images.build.runmounts import RunMount

_FILES: Final = "files"
_ABOUT: Final = "cache.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    name: str
    id: str
    size_bytes: int
    used_s: float
    in_use: bool


@dataclass(frozen=True, slots=True)
class Beginning:
    """With which files a cache begins: ``from`` and ``source`` of its mount."""

    key: str
    """Of what the files are; a cache with another beginning is another cache."""
    write: Callable[[str, str], Awaitable[None]]
    """Into a directory, below a name in that."""


class Caches:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks = KeyedLock()
        self._users: Counter[str] = Counter()
        self._placing = threading.Lock()
        """Held where a directory comes or goes: in threads, while builds come to use it."""

    @contextlib.asynccontextmanager
    async def held(self, mount: RunMount, beginning: Beginning | None = None) -> AsyncIterator[str]:
        """The directory of a cache, which is made if there is none."""
        name = _name(mount.id or mount.target, beginning.key if beginning else "")
        if mount.sharing == "private":  # the first that nobody has
            number = 2
            first = name
            while self._users[name]:
                name = f"{first}-{number}"
                number += 1
        self._users[name] += 1
        try:
            async with contextlib.AsyncExitStack() as stack:
                if mount.sharing == "locked":
                    await stack.enter_async_context(self._locks.hold(name))
                async with self._locks.hold(f"making {name}"), self._begun(name, beginning) as new:
                    made = await asyncio.to_thread(self._made, name, mount, new)
                yield made
        finally:
            self._users[name] -= 1

    @contextlib.asynccontextmanager
    async def _begun(self, name: str, beginning: Beginning | None) -> AsyncIterator[Path | None]:
        """What a cache is to begin with; None: it begins empty, or is there."""
        if beginning is None or (self._directory / name / _FILES).is_dir():
            yield None
            return
        new = self._directory / f"new-{time.monotonic_ns()}"
        try:
            await asyncio.to_thread(new.mkdir, mode=0o700, parents=True)
            await beginning.write(str(new), _FILES)
            yield new / _FILES
        finally:
            await to_its_end(asyncio.to_thread(remove_directory, new))

    def _made(self, name: str, mount: RunMount, new: Path | None) -> str:
        top = self._directory / name
        files = top / _FILES
        about = f"cache {mount.id or mount.target}"
        with disk_full_is_no_space(about, self._directory), self._placing:
            if not files.is_dir():
                top.mkdir(mode=0o700, parents=True, exist_ok=True)
                (top / _ABOUT).write_text(json.dumps({"id": mount.id or mount.target}))
                if new is None:
                    files.mkdir()
                else:
                    new.rename(files)
                os.chown(files, mount.uid, mount.gid)
                os.chmod(files, 0o755 if mount.mode is None else mount.mode)
            os.utime(top)
        return str(files)

    def all(self) -> list[Cache]:
        """For a thread: their files are counted."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for top in sorted(self._directory.iterdir()):
                with contextlib.suppress(OSError, ValueError, LookupError):
                    about = json.loads((top / _ABOUT).read_text())
                    size_bytes, _ = disk_usage(str(top / _FILES), lambda: False)
                    found.append(
                        Cache(
                            name=top.name,
                            id=str(about["id"]),
                            size_bytes=size_bytes,
                            used_s=top.stat().st_mtime,
                            in_use=bool(self._users[top.name]),
                        )
                    )
        return found

    def remove(self, name: str) -> bool:
        """For a thread. False: a build uses it."""
        aside = self._directory / f"gone-{time.monotonic_ns()}"
        with self._placing, contextlib.suppress(FileNotFoundError):
            if self._users[name]:
                return False
            (self._directory / name).rename(aside)
        remove_directory(aside)
        return True

    def sweep(self) -> None:
        """At the agent's start: what was being removed, or made."""
        for pattern in ("gone-*", "new-*"):
            for path in self._directory.glob(pattern):
                remove_directory(path)


def _name(cache_id: str, beginning: str) -> str:
    known = os.path.normpath(cache_id) + (f"\0{beginning}" if beginning else "")
    return hashlib.sha256(known.encode()).hexdigest()[:32]
