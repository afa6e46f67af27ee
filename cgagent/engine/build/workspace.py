"""A build's directory, its context, and its cgroup: all that goes with it.

``<data root>/builds/<id>`` has the context and what its steps mount; the secrets are below the
agent's directory of sockets, which is in memory. The path of the cgroup is noted in ``group``
before that is made. What a killed agent left is found by these directories.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import select
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent import bare
from cgagent.concurrency import StoppedError, in_thread, to_its_end
from cgagent.engine.containers.names import new_id
from cgagent.engine.options import limits as limit_options
from cgagent.errors import CgagentError, InternalError, NotFoundError, UnsupportedError, from_kind
from cgagent.images.build.context import Context
from cgagent.images.compression import decompressed
from cgagent.images.unpack.trees import remove_tree
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator

    from cgagent.cgroups import Group, Host, Limits, Usage
    from cgagent.engine.build.values import BuildRequest

_GROUP: Final = "group"
_SHOWN: Final = 12
_STOPS_WITHIN_MS: Final = 200


class Workspace:
    def __init__(self, directory: Path, secrets: Path, host: Host) -> None:
        self.id = directory.name
        self.path = directory
        self._secrets = secrets
        self._host = host
        self._numbers = itertools.count(1)
        self.group: Group | None = None
        self._made_groups: tuple[str, ...] = ()

    def make(self) -> None:
        with disk_full_is_no_space(f"build {self.id[:_SHOWN]}: directory", self.path.parent):
            self.path.mkdir(mode=0o700, parents=True)
            (self.path / "context").mkdir(mode=0o755)

    @property
    def context(self) -> Path:
        return self.path / "context"

    def fresh(self, kind: str) -> Path:
        """A new directory in it."""
        with disk_full_is_no_space(f"build {self.id[:_SHOWN]}: directory", self.path):
            made = self.path / f"{kind}-{next(self._numbers)}"
            made.mkdir(mode=0o755)
        return made

    def fresh_secrets(self) -> Path:
        """The same, in memory."""
        made = self._secrets / str(next(self._numbers))
        made.mkdir(mode=0o700, parents=True)
        return made

    def make_group(self, parent: str, limits: Limits) -> Group:
        """The build's cgroup below `parent`, with its limits.

        Raises:
            InvalidInputError, UnsupportedError: a limit that this host cannot hold.
            ConflictError, DeniedError: it cannot be made there.
        """
        if dict(limit_options.of_network(limits, priority=True)):
            raise UnsupportedError("a build has no network interface of its own to limit")
        group = self._host.group(f"{parent.rstrip('/')}/build-{self.id[:_SHOWN]}")
        (self.path / _GROUP).write_text(group.path)
        self.group = group
        self._made_groups = group.create()
        if dict(limits):
            group.apply(limits, new=True)
        return group

    @contextlib.asynccontextmanager
    async def worker_group(self) -> AsyncIterator[Group]:
        """A cgroup below the build's, for a child that does a part of it; see `join_files`."""
        if self.group is None:
            raise InternalError("the build has no cgroup")
        group = self.group.at(f"{self.group.path}/files-{new_id()[:_SHOWN]}")
        try:
            await asyncio.to_thread(group.create)
            yield group
        finally:
            await to_its_end(asyncio.to_thread(end_group, group))

    def died(self, what: str, how: str) -> CgagentError:
        """Why a child in it ended without an answer."""
        kills = self.group.oom_kills() if self.group else 0
        why = "the build's memory limit ended it" if kills else how
        return from_kind("no_space" if kills else "internal", f"{what}: {why}")

    def usage(self) -> Usage | None:
        try:
            return self.group.usage() if self.group else None
        except CgagentError:
            return None

    async def remove(self) -> None:
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        if self.group is not None:
            end_group(self.group, self._made_groups)
        remove_directory(self._secrets)
        remove_directory(self.path)


def join_files(group: Group) -> list[str]:
    """Into which a process writes "0" to be in the group, in each hierarchy that it is in."""
    unified = group.unified_dir()
    with contextlib.suppress(CgagentError):
        return [*group.join_files(), *([f"{unified}/cgroup.procs"] if unified else [])]
    return []


def end_group(group: Group, made: tuple[str, ...] = ()) -> None:
    """Kill what is in it, and remove it; one that is gone is fine."""
    with contextlib.suppress(NotFoundError):
        if group.exists():
            group.kill()
    group.remove(made=made)


def remove_directory(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(os.fsencode(path))


def left_group(directory: Path) -> str:
    """The path of the cgroup that a build of an earlier agent had; empty: it had none yet."""
    try:
        return (directory / _GROUP).read_text()
    except OSError:
        return ""


# -- the context --------------------------------------------------------------------------------


async def unpacked(
    workspace: Workspace, archive: str, request: BuildRequest
) -> tuple[Context, bytes]:
    """The context in a tar, which may be compressed, and the Dockerfile; under the build's limits.

    Raises:
        InvalidInputError: a bad archive. NotFoundError: it has no such Dockerfile.
        NoSpaceError.
    """
    name = os.path.normpath(request.dockerfile or "Dockerfile").lstrip("/")
    told: dict[str, Any] = {"directory": str(workspace.context), "dockerfile": name}
    async with workspace.worker_group() as group:
        told["groups"] = join_files(group)
        lines = await in_thread(lambda stop: _unpack(told, archive, stop))
    found: dict[str, dict[str, Any]] = {}
    text = request.dockerfile_text
    for line in lines:
        if "error" in line:
            raise from_kind(line["error"]["kind"], line["error"]["message"])
        if "gone" in line:
            found.pop(line["gone"], None)
        elif "path" in line:
            found[line["path"]] = line
        elif line.get("dockerfile") is not None and text is None:
            text = base64.b64decode(line["dockerfile"])
    if not lines or "done" not in lines[-1]:
        raise workspace.died("build context", "the unpacking process died")
    if text is None:
        raise NotFoundError(f"Cannot locate specified Dockerfile: {name}")
    return Context.of(found.values()), text


def wait_for(child: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Until it has ended. Raises StoppedError: sooner than that, however much it has to read."""
    pidfd = os.pidfd_open(child.pid)
    try:
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        while not ended.poll(_STOPS_WITHIN_MS):
            if stop.is_set():
                raise StoppedError
    finally:
        os.close(pidfd)


def _unpack(request: dict[str, Any], archive: str, stop: threading.Event) -> list[dict[str, Any]]:
    """What the process tells, to its end."""
    command = bare.command("cgagent.images.unpack.context", json.dumps(request))
    output = Path(request["directory"]).with_name("context.json")
    with (
        output.open("wb") as told,
        open(archive, "rb") as source,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, cwd="/", env={}) as child,
    ):
        assert child.stdin is not None  # noqa: S101 -- asked for above
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin:
                for chunk in decompressed(source, "build context"):
                    if stop.is_set():
                        raise StoppedError
                    child.stdin.write(chunk)
            wait_for(child, stop)
        except BaseException:
            child.kill()
            raise
    with output.open("rb") as lines:
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
