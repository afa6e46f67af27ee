"""Writing the files of COPY, ADD and WORKDIR into a layer, by a worker in the build's cgroup."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import in_thread, to_its_end
from cgagent.engine import children
from cgagent.engine.build.accounts import account
from cgagent.engine.build.workspace import join_files
from cgagent.engine.containers.bundle import root_mount
from cgagent.engine.containers.names import new_id
from cgagent.errors import from_kind
from cgagent.images.image import ImageConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from cgagent.cgroups import Group
    from cgagent.engine.build.values import Account
    from cgagent.engine.build.workspace import Workspace
    from cgagent.images.building import Hold, Layers
    from cgagent.images.drivers import RootFs
    from cgagent.images.store import Images

_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files below a directory, or below the root that layers make."""

    paths: tuple[str, ...]
    skipped: tuple[int, ...] = ()
    """The directories above each path are copied with it, but for so many of the first."""
    directory: str = ""
    layers: Layers | None = None
    globs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What a worker is to write; an `archive` is a plain tar that is extracted first."""

    target: str
    sources: tuple[Source, ...] = ()
    owner: str = ""
    keep_owner: bool = False
    mode: int | str | None = None
    exclude: tuple[str, ...] = ()
    archive: Iterator[bytes] | None = None


class Files:
    def __init__(self, images: Images, workspace: Workspace, hold: Hold) -> None:
        self._images = images
        self._workspace = workspace
        self._hold = hold

    async def layer(self, below: Layers, writings: Sequence[Writing]) -> tuple[Layers, Account]:
        """The layers with one more of what is written; the same ones if that is nothing.

        Raises:
            NotFoundError: a source is not there.
            InvalidInputError: what the files cannot be, such as an unknown owner.
        """
        began = time.monotonic()
        async with self._root(below) as root, self._workspace.worker_group() as group:
            for one in writings:
                await self._write(one, {"rootfs": [root_mount(root, thrown_away=True)]}, group)
            used = await asyncio.to_thread(group.usage)
            made = await self._images.building.take(root, (), below, self._hold)
        return made, account(used, time.monotonic() - began)

    async def copy_out(self, source: Source, directory: str, target: str) -> None:
        """To the path `target` below a directory of the agent's own."""
        writing = Writing(target=target, sources=(source,), keep_owner=True)
        async with self._workspace.worker_group() as group:
            await self._write(writing, {"directory": directory}, group)

    @contextlib.asynccontextmanager
    async def _root(self, layers: Layers) -> AsyncIterator[RootFs]:
        """One to be written to, which nobody else has."""
        name = new_id()
        image = self._images.building.image(layers, ImageConfig())
        try:
            yield await in_thread(lambda _: self._images.prepare(image, name))
        finally:
            await to_its_end(asyncio.to_thread(self._images.release, name))

    async def _write(self, one: Writing, place: dict[str, Any], group: Group) -> None:
        async with contextlib.AsyncExitStack() as stack:
            sources = [await self._opened(source, stack) for source in one.sources]
            request = {
                "groups": join_files(group),
                "op": "directory" if one.archive is None and not sources else "copy",
                "sources": sources,
                "place": {**place, "staging": str(self._workspace.fresh("root"))},
                "target": one.target,
                "owner": one.owner,
                "keep_owner": one.keep_owner,
                "mode": one.mode,
                "exclude": one.exclude,
            }
            if one.archive is not None:
                request["op"] = "extract"
            await self._work(request, one.archive)

    async def _opened(self, source: Source, stack: contextlib.AsyncExitStack) -> dict[str, Any]:
        skipped = source.skipped or [None] * len(source.paths)
        paths = list(zip(source.paths, skipped, strict=True))
        found: dict[str, Any] = {"paths": paths, "globs": source.globs}
        if source.layers is None:
            return {**found, "directory": source.directory}
        opened: AbstractAsyncContextManager[RootFs] = self._root(source.layers)
        root = await stack.enter_async_context(opened)
        staging = str(self._workspace.fresh("from"))
        return {**found, "rootfs": [root_mount(root, thrown_away=True)], "staging": staging}

    async def _work(self, request: dict[str, Any], archive: Iterator[bytes] | None) -> None:
        file = self._workspace.fresh("request") / "request.json"
        file.write_text(json.dumps(request))
        child = await children.spawn(
            *("cgagent.engine.build.worker", str(file)),
            stdin=subprocess.DEVNULL if archive is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={},
            limit=_LINE,
        )
        try:
            if archive is not None and child.stdin is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    while chunk := await in_thread(lambda _: next(archive, b"")):
                        child.stdin.write(chunk)
                        await child.stdin.drain()
                    child.stdin.close()
            assert child.stdout is not None  # noqa: S101 -- asked for above
            line = await child.stdout.readline()
            await child.wait()
        finally:
            await children.end(child)
        self._check(line, child.returncode)

    def _check(self, line: bytes, status: int | None) -> None:
        if not line:
            raise self._workspace.died("writing files", f"it died with status {status}")
        answer = json.loads(line)
        if "error" in answer:
            raise from_kind(answer["error"]["kind"], answer["error"]["message"])
