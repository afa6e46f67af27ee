"""What RUN --mount asks for, as mounts of the step's container."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.engine.build.caches import Beginning
from cgagent.engine.build.files import Source
from cgagent.engine.options.mounts import Mount
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.images.build.commands import SCRIPT, absolute

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from cgagent.engine.build.caches import Caches
    from cgagent.engine.build.files import Files
    from cgagent.engine.build.state import State
    from cgagent.engine.build.workspace import Workspace
    from cgagent.images.build.commands import Run
    from cgagent.images.build.context import Context
    from cgagent.images.build.runmounts import RunMount

_SECRET_MODE: Final = 0o400


@dataclass(slots=True)
class Mounted:
    mounts: list[Mount] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    """Secrets that are variables."""


class RunMounts:
    """`origins` are what ``from`` names, all of which are there."""

    def __init__(
        self,
        workspace: Workspace,
        context: Context,
        files: Files,
        caches: Caches,
        secrets: Mapping[str, bytes],
    ) -> None:
        self._workspace = workspace
        self._context = context
        self._files = files
        self._caches = caches
        self._secrets = secrets

    async def made(
        self, step: Run, directory: str, origins: Mapping[str, State], stack: AsyncExitStack
    ) -> Mounted:
        """They are there until `stack` ends.

        Raises:
            NotFoundError: a source, or a secret that is required.
            InvalidInputError.
        """
        found = Mounted()
        for one in step.mounts:
            target = absolute(directory, one.target).rstrip("/") or "/"
            if one.type == "secret":
                self._secret(one, target, found)
            elif one.type == "tmpfs":
                size = () if one.size_bytes is None else (f"size={one.size_bytes}",)
                options = (*size, "exec", "suid", "dev")
                found.mounts.append(Mount(type="tmpfs", destination=target, tmpfs_options=options))
            else:
                source = (
                    await self._cache(one, origins, stack)
                    if one.type == "cache"
                    else await self._bound(one, origins)
                )
                found.mounts.append(
                    Mount(type="bind", source=source, destination=target, read_only=one.read_only)
                )
        if step.script:
            file = self._workspace.fresh("script") / "script"
            file.write_text(step.script)
            file.chmod(0o755)
            found.mounts.append(Mount(type="bind", source=str(file), destination=SCRIPT))
        return found

    def digest(self, one: RunMount) -> str:
        """Of what a bind mount of the context shows."""
        return self._context.digest(self._context.matching(one.source or "."))

    async def _cache(
        self, one: RunMount, origins: Mapping[str, State], stack: AsyncExitStack
    ) -> str:
        beginning = None
        if one.origin:
            origin = origins[one.origin]
            source = Source(paths=(one.source.lstrip("/"),), layers=origin.layers)
            beginning = Beginning(
                key=f"{origin.key} {one.source}",
                write=lambda directory, name: self._files.copy_out(source, directory, f"/{name}/"),
            )
        return await stack.enter_async_context(self._caches.held(one, beginning))

    async def _bound(self, one: RunMount, origins: Mapping[str, State]) -> str:
        """A path of the build's own; what is written there is thrown away with it."""
        if one.origin:
            source = Source(paths=(one.source.lstrip("/"),), layers=origins[one.origin].layers)
        else:
            path, *others = self._context.matching(one.source or ".")
            if others:
                raise InvalidInputError(
                    f"mount {one.target}: source {one.source} matches {1 + len(others)} files; "
                    "name one, or the directory that they are in"
                )
            if one.read_only:
                return str(self._workspace.context / path)
            source = Source(paths=(path,), directory=str(self._workspace.context))
        made = self._workspace.fresh("mount")
        await self._files.copy_out(source, str(made), "/mounted")
        return str(made / "mounted")

    def _secret(self, one: RunMount, target: str, found: Mounted) -> None:
        value = self._secrets.get(one.id)
        if value is None:
            if one.required:
                raise NotFoundError(
                    f"secret {one.id} is required and was not given; give --secret id={one.id},src="
                )
            return
        if one.env:
            found.env.append(f"{one.env}={value.decode('utf-8', 'surrogateescape')}")
        if one.target:
            file = self._workspace.fresh_secrets() / "secret"
            file.write_bytes(value)
            os.chown(file, one.uid, one.gid)
            file.chmod(_SECRET_MODE if one.mode is None else one.mode)
            found.mounts.append(
                Mount(type="bind", source=str(file), destination=target, read_only=True)
            )
