"""Agents for the tests: one for most of them, and ones of their own for those that kill it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from cgagent.errors import NotFoundError
from tests.world.agent import SLOWNESS, Agent, eventually
from tests.world.audit import Snapshot, difference
from tests.world.building import Builds
from tests.world.screen import Screen


@pytest.fixture(scope="session")
def agent(state_root, alpine_docker_archive, busybox_docker_archive):
    """An agent with alpine and busybox, shared by many tests; each removes its containers."""
    with (
        tempfile.TemporaryDirectory(dir=state_root) as folder,
        Agent(Path(folder), forked=False) as running,
    ):
        running.load(alpine_docker_archive)
        running.load(busybox_docker_archive)
        yield running


@pytest.fixture
def own_agent(data_root, alpine_docker_archive):
    """An agent with alpine that a test may kill and start again."""
    with Agent(data_root) as running:
        running.load(alpine_docker_archive)
        yield running


@pytest.fixture
def container(agent):
    """Launch a container that is removed after the test: ``container(*command, **options)``."""
    made = []

    def launch(*command, start=True, **options):
        made.append(agent.create(*command, **options))
        if start:  # one that fails to is removed as well
            agent.post(made[-1], "start")
        return made[-1]

    yield launch
    present = {c["id"] for c in agent.containers()}
    for one in made:
        if one in present:
            agent.remove(one)


@pytest.fixture
def nothing_made(agent):
    """The test must leave containers, their directories and their cgroups as they were."""

    def look():
        ids = {c["id"] for c in agent.containers()}
        folder = agent.data_root / "containers"
        folders = set(os.listdir(folder)) if folder.exists() else set()
        return ids, folders

    def at_rest():
        """None while files of one that is gone are being deleted."""
        ids, folders = look()
        return (ids, folders) if ids == folders else None

    before = eventually(at_rest)
    layers = set(os.listdir(agent.data_root / "overlay2"))
    yield
    eventually(lambda: look() == before, "something was left of the attempt")
    assert set(os.listdir(agent.data_root / "overlay2")) <= layers


@pytest.fixture
def audited(state_root):
    """What is left of this run's things since the test began: a list of lines."""
    before = Snapshot.take(contents=(state_root,))
    return lambda: difference(before, Snapshot.take(contents=(state_root,)))


@pytest.fixture
def screen(agent):
    """Run a command line of cgagent's in a terminal: ``screen("run", ...)``."""
    made = []

    def run(*args, of=agent, size=(24, 80)):
        made.append(Screen(of.cli_command(*args), size))
        return made[-1]

    yield run
    for one in made:
        one.__exit__(None, None, None)


@pytest.fixture
def shell(container):
    """A container that runs a shell in a terminal."""
    return container("sh", tty=True, stdin=True)


@pytest.fixture(params=["running", "stopped"])
def box(request, container, agent):
    """A container, running, or one that was never started."""
    return container("sleep", "1000", start=request.param == "running")


@pytest.fixture
def running(container):
    return container("sleep", "1000")


@pytest.fixture
def cp(agent):
    """``cgagent cp`` that must work, or must not."""

    def copy(*args, fails_with=None, **options):
        done = subprocess.run(
            agent.cli_command("cp", *args),
            check=False,
            capture_output=True,
            timeout=60 * SLOWNESS,
            **options,
        )
        if fails_with is None:
            assert (done.returncode, done.stderr) == (0, b"")
        else:
            assert done.returncode != 0
            assert done.stderr.count(b"\n") == 1
            assert fails_with in done.stderr.decode()
        return done.stdout

    return copy


@pytest.fixture
def build(agent, tmp_path):
    """Build a context: ``build(text, *flags, files={...})``; images are removed afterwards."""
    made = Builds(agent, tmp_path)
    yield made
    made.clean_up()


@pytest.fixture
def network(agent):
    """Make networks that are removed after the test: ``network("blue", *flags)``."""
    made = []

    def make(name, *flags):
        done = agent.cli("network", "create", *flags, name)
        assert done.returncode == 0, done.stderr
        made.append(name)
        return done.stdout.strip()

    yield make
    for name in made:
        with contextlib.suppress(NotFoundError):
            for member in agent.client.request("GET", f"/v1/networks/{name}")["containers"]:
                agent.remove(member["container_id"])
        assert agent.cli("network", "rm", "-f", name).returncode == 0
