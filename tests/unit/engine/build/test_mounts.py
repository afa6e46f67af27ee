"""What RUN --mount comes to."""

import os
import stat
from contextlib import AsyncExitStack

import pytest

from cgagent.engine.build.caches import Caches
from cgagent.engine.build.mounts import RunMounts
from cgagent.engine.build.workspace import Workspace
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.images.build import commands
from cgagent.images.build.context import Context, Entry
from cgagent.images.build.syntax import parse

pytestmark = pytest.mark.anyio


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "build", tmp_path / "secrets", None)
    made.make()
    return made


@pytest.fixture
def run(workspace, tmp_path):
    entries = {"a": Entry(kind="file", mode=0o644), "b": Entry(kind="file", mode=0o644)}
    context = Context({"": Entry(kind="directory", mode=0o755), **entries})
    own = Caches(tmp_path / "caches")
    mounts = RunMounts(workspace, context, None, own, {"key": b"s3cret\n"})

    async def made(flags, stack):
        (one,) = parse(f"RUN {flags} x".encode()).instructions
        what = commands.run(one, ("sh", "-c"), {}, "\\")
        return await mounts.made(what, "/work", {}, stack)

    return made


def mine(flags):
    return f"{flags},uid={os.getuid()},gid={os.getgid()}"


async def test_a_secret_is_a_file_in_memory_or_a_variable(run, tmp_path):
    async with AsyncExitStack() as stack:
        found = await run(mine("--mount=type=secret,id=key,mode=0440"), stack)
        (mount,) = found.mounts
        assert (mount.destination, mount.read_only, found.env) == ("/run/secrets/key", True, [])
        assert mount.source.startswith(str(tmp_path / "secrets"))
        assert stat.S_IMODE(os.stat(mount.source).st_mode) == 0o440
        found = await run("--mount=type=secret,id=key,env=KEY", stack)
        assert (found.mounts, found.env) == ([], ["KEY=s3cret\n"])
        assert "s3cret" not in repr(found.mounts)


async def test_a_secret_that_was_not_given(run):
    async with AsyncExitStack() as stack:
        assert (await run("--mount=type=secret,id=none", stack)).mounts == []
        with pytest.raises(NotFoundError, match="secret none is required"):
            await run("--mount=type=secret,id=none,required", stack)


async def test_the_context_is_bound_as_it_is(run, workspace):
    async with AsyncExitStack() as stack:
        (mount,) = (await run("--mount=target=sub", stack)).mounts
        assert (mount.source, mount.destination) == (str(workspace.context), "/work/sub")
        assert mount.read_only
        with pytest.raises(InvalidInputError, match=r"source \* matches 2 files"):
            await run("--mount=source=*,target=/x", stack)
        with pytest.raises(NotFoundError, match="no such file"):
            await run("--mount=source=c,target=/x", stack)


async def test_a_cache_and_a_file_system_in_memory(run):
    async with AsyncExitStack() as stack:
        flags = f"--mount=type=tmpfs,target=/t,size=1m {mine('--mount=type=cache,target=/c')}"
        memory, cache = (await run(flags, stack)).mounts
        assert (memory.type, memory.tmpfs_options[0]) == ("tmpfs", f"size={1 << 20}")
        assert (cache.type, cache.read_only) == ("bind", False)
        assert os.path.isdir(cache.source)
