"""Files out of a container and into it, while it runs and while it does not.

Each request has a process of its own, which changes its root to the container's before it looks
at the first name (`cgagent.images.unpack.copy`). For a container that does not run it mounts the
root in a namespace of its own; the container's lock is held meanwhile, so it cannot be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine import children
from cgagent.engine.containers.bundle import root_mount
from cgagent.engine.lifecycle import require_there
from cgagent.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    UnsupportedError,
    from_kind,
)
from cgagent.images.changes import changes

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.images.changes import Change

_CHUNK: Final = 1 << 18
_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStat:
    """What a path in a container is. `mode` as in stat(2)."""

    name: str
    path: str
    """In the container's root; without links if they were followed."""
    mode: int
    size_bytes: int
    mtime_ns: int
    link_target: str | None


class Reading:
    """A tar stream being read: `stat` of its top, `chunks`; to be closed."""

    def __init__(self, stat: PathStat, child: Process, stack: AsyncExitStack) -> None:
        self.stat = stat
        self._child = child
        self._stack = stack

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises InternalError when the stream was cut off: what came is not to be used."""
        output = _output(self._child)
        while data := await output.read(_CHUNK):
            yield data
        if await self._child.wait():
            raise InternalError("copying out of a container was cut off")

    async def close(self) -> None:
        await self._stack.aclose()


class Copying:
    def __init__(self, lifecycle: Lifecycle, jobs: Jobs) -> None:
        self._lifecycle = lifecycle
        self._jobs = jobs

    async def stat(self, container: Container, path: str, *, follow: bool) -> PathStat:
        """Raises NotFoundError for what is not there."""
        self._jobs.require_permitted("copy", container=container.id)
        request = {"op": "stat", "path": _absolute(path), "follow": follow}
        async with self._child(container, request) as child:
            return PathStat(**await _answer(child))

    async def read(
        self, container: Container, path: str, *, name: str | None = None, follow: bool = False
    ) -> Reading:
        """A tar stream of a file or directory, whose top entry has `name`; None: its own.

        Raises:
            NotFoundError: it is not there.
        """
        self._jobs.require_permitted("copy", container=container.id)
        path = _absolute(path)
        name = name or os.path.basename(path.rstrip("/")) or "."
        request = {"op": "read", "path": path, "follow": follow, "name": name}
        async with AsyncExitStack() as stack:
            child = await stack.enter_async_context(self._child(container, request))
            stat = PathStat(**await _answer(child))
            return Reading(stat, child, stack.pop_all())

    async def export(self, container: Container, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send its root file system as a tar, without what is mounted in it.

        Raises:
            UnsupportedError: it has no root of its own.
        """
        container.require_started_here("exporting it")
        rootfs = container.record.rootfs
        if rootfs is None:
            raise UnsupportedError(f"container {container.name} has no root file system of its own")
        looked_at = replace(rootfs, lowers=(rootfs.upper, *rootfs.lowers))
        mounted = root_mount(looked_at)
        options = [o for o in mounted["options"] if o.startswith("lowerdir=")]
        place = {
            "mounts": [],
            "rootfs": [{**mounted, "options": options}],
            "staging": str(self._lifecycle.bundle(container.id).root),
            "read_only": True,
        }
        async with self._jobs.run("export", container=container.id):
            child = await _spawn({"op": "export", "enter": "stopped", "place": place})
            try:
                await _answer(child)
                while data := await _output(child).read(_CHUNK):
                    await send(data)
                if await child.wait():
                    raise InternalError("exporting a container was cut off")
            finally:
                await children.end(child)

    async def write(
        self,
        container: Container,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        keep_owner: bool = False,
        replace: bool = False,
    ) -> None:
        """Place the entries of a tar stream in the directory `path`.

        With `keep_owner` they have the archive's user and group ids, else they are root's. With
        `replace` a directory may be replaced by something else, and the other way round.

        Raises:
            NotFoundError: there is no such directory.
            InvalidInputError: a bad archive. Entries before the bad one are there.
            ConflictError: the root file system is read-only.
        """
        request = {
            "op": "write",
            "path": _absolute(path),
            "keep_owner": keep_owner,
            "replace": replace,
        }
        async with (
            self._jobs.run("copy", container=container.id, path=path),
            self._child(container, request) as child,
        ):
            await _feed(child, archive)
            await _answer(child)

    async def changes(self, container: Container) -> list[Change]:
        """What it has changed in its root file system."""
        container.require_started_here("showing its changes")
        rootfs = container.record.rootfs
        if rootfs is None:
            return []
        points = self._lifecycle.bundle(container.id).mount_points()
        return await asyncio.to_thread(changes, rootfs, points)

    @asynccontextmanager
    async def _child(self, container: Container, request: dict[str, Any]) -> AsyncIterator[Process]:
        container.require_started_here("copying files")
        async with AsyncExitStack() as held:
            await held.enter_async_context(container.lock)
            require_there(container)
            child = await self._start(container, request)
            try:
                if container.running:
                    await held.aclose()
                yield child
            finally:
                await children.end(child)

    async def _start(self, container: Container, request: dict[str, Any]) -> Process:
        if not container.running:
            await self._lifecycle.undo_set_up(container)
            return await _spawn({**request, "enter": "stopped", "place": self._place(container)})
        place = self._open_running(container)
        try:
            running = {**request, "enter": "running", "place": place}
            return await _spawn(running, *place.values())
        finally:
            for fd in place.values():
                os.close(fd)

    def _place(self, container: Container) -> dict[str, Any]:
        record = container.record
        points = sorted(
            self._lifecycle.mount_points(container), key=lambda p: p.destination.count("/")
        )
        return {
            "mounts": [asdict(p) for p in points if p.type == "bind"],
            "rootfs": [root_mount(record.rootfs)] if record.rootfs else [],
            "staging": str(self._lifecycle.bundle(container.id).root),
            "read_only": record.config.read_only,
        }

    def _open_running(self, container: Container) -> dict[str, int]:
        """What `enter.running` needs of its first process, made sure to be still that."""
        pid = container.record.outcome.pid
        place: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            place["root_fd"] = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
            place["mounts_fd"] = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            if container.record.resolved.namespaces.user_ids:
                place["user_fd"] = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            if pid in self._lifecycle.group(container).pids():  # the number may be another's now
                return place
        for fd in place.values():
            os.close(fd)
        raise ConflictError(f"container {container.name} has just ended; try again")


def _absolute(path: str) -> str:
    """From the container's root; what is at its end, a slash or a dot, has a meaning."""
    if not path or "\0" in path:
        raise InvalidInputError(f"path {path!r} names nothing")
    return "/" + path.lstrip("/")


async def _spawn(request: dict[str, Any], *fds: int) -> Process:
    return await children.spawn(
        *("cgagent.engine.sessions.copier", json.dumps(request)),
        stdin=subprocess.PIPE if request["op"] == "write" else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=fds,
        env={},
        limit=_LINE,
    )


def _output(child: Process) -> asyncio.StreamReader:
    if child.stdout is None:
        raise InternalError("the copying process has no output")
    return child.stdout


async def _answer(child: Process) -> dict[str, Any]:
    line = await _output(child).readline()
    if not line:
        raise InternalError(f"the copying process died with status {await child.wait()}")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise from_kind(answer["error"]["kind"], answer["error"]["message"])
    return answer


async def _feed(child: Process, archive: AsyncIterator[bytes]) -> None:
    """Until its end, or until the child has had enough: its answer says why."""
    if child.stdin is None:
        raise InternalError("the copying process has no input")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in archive:
            child.stdin.write(chunk)
            await child.stdin.drain()
        child.stdin.close()
        await child.stdin.wait_closed()
