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

from cgagent.concurrency import KeyedLock
from cgagent.engine.build.workspace import remove_directory
from cgagent.metrics import disk_usage
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cgagent.images.build.commands import RunMount

_FILES: Final = "files"
_ABOUT: Final = "cache.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    name: str
    id: str
    size_bytes: int
    used_s: float
    in_use: bool


class Caches:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks = KeyedLock()
        self._users: Counter[str] = Counter()
        self._placing = threading.Lock()
        """Held where a directory comes or goes: in threads, while builds come to use it."""

    @contextlib.asynccontextmanager
    async def held(self, mount: RunMount) -> AsyncIterator[str]:
        """The directory of a cache, which is made if there is none."""
        name = _name(mount.id or mount.target)
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
                yield await asyncio.to_thread(self._made, name, mount)
        finally:
            self._users[name] -= 1

    def _made(self, name: str, mount: RunMount) -> str:
        top = self._directory / name
        files = top / _FILES
        about = f"cache {mount.id or mount.target}"
        with disk_full_is_no_space(about, self._directory), self._placing:
            if not files.is_dir():
                top.mkdir(mode=0o700, parents=True, exist_ok=True)
                (top / _ABOUT).write_text(json.dumps({"id": mount.id or mount.target}))
                files.mkdir()
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
        """At the agent's start: what was being removed."""
        for path in self._directory.glob("gone-*"):
            remove_directory(path)


def _name(cache_id: str) -> str:
    return hashlib.sha256(os.path.normpath(cache_id).encode()).hexdigest()[:32]
