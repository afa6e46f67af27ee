"""COPY and ADD: what of the context, of other stages and of the network they mean."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import tarfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread, in_waiting_thread
from cgagent.engine.build import fetching
from cgagent.engine.build.cloning import clone
from cgagent.engine.build.files import Files, Source, Writing
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images.compression import decompressed
from cgagent.pathpatterns import Ignore, is_glob

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from cgagent.engine.build.state import State
    from cgagent.engine.build.values import Account
    from cgagent.engine.build.workspace import Workspace
    from cgagent.images.build.commands import Copy
    from cgagent.images.build.context import Context
    from cgagent.images.building import Layers

_HEAD_BYTES: Final = 512
_MAX_NAME: Final = 255
"""Bytes that Linux has for a file's name."""


@dataclass(slots=True)
class Ready:
    """A COPY or ADD whose sources are known."""

    what: Copy
    files: Files
    sources: list[Source] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    """What is copied, each by its digest or by what it comes from."""

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(self.found)

    async def write(self, below: Layers) -> tuple[Layers, Account]:
        what = self.what
        writing = Writing(
            target=what.target,
            sources=tuple(self.sources),
            owner=what.chown,
            keep_owner=bool(what.origin),
            mode=what.chmod,
            exclude=what.exclude,
        )
        target = what.target.rstrip("/") + "/"
        extracting = [
            Writing(target=target, owner=what.chown, archive=_plain(file)) for file in self.archives
        ]
        return await self.files.layer(below, [*([writing] if self.sources else []), *extracting])


class Copies:
    def __init__(
        self,
        workspace: Workspace,
        context: Context,
        files: Files,
        may_fetch: Callable[[str], None],
    ) -> None:
        """`may_fetch` raises DeniedError: whoever asks may not have the agent fetch a URL."""
        self._may_fetch = may_fetch
        self._workspace = workspace
        self._context = context
        self._files = files

    @asynccontextmanager
    async def prepared(self, what: Copy, origin: State | None) -> AsyncIterator[Ready]:
        """`origin` is what ``--from`` names.

        Raises:
            NotFoundError: a source is not there.
            InvalidInputError, UnsupportedError, RemoteError, UnavailableError.
        """
        ready = Ready(what, self._files)
        local = what.local
        if origin is not None:
            paths = tuple(map(_path, local))
            skipped = tuple(map(_skipped, local)) if what.parents else ()
            globs = any(map(is_glob, paths))
            ready.sources.append(
                Source(paths=paths, layers=origin.layers, globs=globs, skipped=skipped)
            )
            ready.found += [origin.key, *paths, *map(str, skipped)]
        elif local:
            await in_thread(lambda _: self._of_context(what, local, ready))
        if what.files:
            self._heredocs(what, ready)
        for url in what.urls:
            await self._fetched(what, url, ready)
        for repository in what.repositories:
            self._may_fetch(repository.url)
            cloned = await clone(self._workspace, repository)
            ready.found += [cloned.commit, repository.directory]
            ready.archives.append(cloned.archive)
        yield ready

    def _of_context(self, what: Copy, local: Sequence[str], ready: Ready) -> None:
        skips = {
            path: _skipped(source)
            for source in local
            for path in self._context.matching(source, deep=what.parents)
        }
        found = list(skips)
        if what.exclude:
            hides = Ignore.parse("\n".join(what.exclude)).hides
            found = [path for path in found if not path or not hides(path)]
        is_file_target = not what.target.endswith("/")
        if len(found) > 1 and is_file_target:
            raise InvalidInputError(
                f"{'ADD' if what.is_add else 'COPY'}: {len(found)} sources match, and the "
                f"destination {what.target} must be a directory then: end it with a /"
            )
        ready.found.append(self._context.digest(found))
        if what.parents:
            ready.found.append(json.dumps([(path, skips[path]) for path in found]))
        kept = []
        for path in found:
            file = self._workspace.context / path
            is_file = self._context.entries[path].kind == "file"
            if what.is_add and is_file and is_archive(file):
                ready.archives.append(file)
            else:
                kept.append(path)
        if kept:
            directory = str(self._workspace.context)
            skipped = tuple(skips[path] for path in kept) if what.parents else ()
            ready.sources.append(Source(paths=tuple(kept), directory=directory, skipped=skipped))

    def _heredocs(self, what: Copy, ready: Ready) -> None:
        made = self._workspace.fresh("heredoc")
        for one in what.files:
            name = posixpath.basename(one.name)
            if name != one.name or name in {"", ".", ".."} or len(os.fsencode(name)) > _MAX_NAME:
                raise InvalidInputError(f"heredoc {one.name[:60]!r} is no name of a file")
            file = made / name
            file.write_text(one.content)
            file.chmod(0o644)
            os.utime(file, (0, 0))
        names = tuple(one.name for one in what.files)
        ready.sources.append(Source(paths=names, directory=str(made)))

    async def _fetched(self, what: Copy, url: str, ready: Ready) -> None:
        self._may_fetch(url)
        name = fetching.name_of(url, what.target)
        file = self._workspace.fresh("url") / name

        def work(stop: threading.Event) -> str:
            return fetching.fetch(url, file, what.checksum, stop)

        digest = await in_waiting_thread(work)
        ready.found.append(hashlib.sha256(f"{name} {digest}".encode()).hexdigest())
        ready.sources.append(Source(paths=(name,), directory=str(file.parent)))


def _path(source: str) -> str:
    """Of a source of another stage, from its root."""
    found = posixpath.normpath(posixpath.join("/", source)).lstrip("/")
    if "\0" in found:
        raise UnsupportedError(f"source {source!r} has a NUL in it")
    return found


def _skipped(source: str) -> int:
    """How many of the directories above it --parents leaves out: those before a ``/./``."""
    before, pivot, _ = source.partition("/./")
    return len([part for part in before.split("/") if part not in {"", "."}]) if pivot else 0


def _plain(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        yield from decompressed(source, f"archive {file.name}")


def is_archive(file: Path) -> bool:
    """Whether it is a tar, plain or compressed, by what it begins with."""
    head = b""
    try:
        with file.open("rb") as source:
            for chunk in decompressed(source, file.name):
                head += chunk
                if len(head) >= _HEAD_BYTES:
                    break
        tarfile.TarInfo.frombuf(head[:_HEAD_BYTES], "utf-8", "surrogateescape")
    except (InvalidInputError, tarfile.HeaderError):
        return False
    return True
