"""An agent as Docker's clients meet it; each answer that they get is held against the contract."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.world import dockers, hub
from tests.world.agent import SLOWNESS, Agent
from tests.world.recorder import Recorder
from tests.world.registry import Registry, alpine_storage
from tests.world.swagger import Contract


@pytest.fixture(scope="session")
def docker_hub(tmp_path_factory):
    """A registry that stands in for docker.io."""
    with Registry(seed=alpine_storage()) as registry:
        hub.stock(registry, tmp_path_factory.mktemp("hub"))
        yield registry


@pytest.fixture(scope="session")
def agent(state_root, docker_hub, alpine_docker_archive, busybox_docker_archive):
    """With alpine and busybox, and networks where Docker's own tests have none."""
    with tempfile.TemporaryDirectory(dir=state_root) as folder:
        settings = Path(folder, "config.toml")
        settings.write_text(
            'address-pools = ["10.201.0.0/16:24", "fd63:6761::/48:64"]\n'
            f'[registries."docker.io"]\nlocation = "{docker_hub.address}"\ninsecure = true\n'
        )
        with Agent(Path(folder), "--config", str(settings)) as running:
            running.load(alpine_docker_archive)
            running.load(busybox_docker_archive)
            yield running


@pytest.fixture(scope="session")
def recorder(agent):
    """What was answered; the last word of the session is that all of it kept the contract."""
    recorder = Recorder(Contract(), agent.socket)
    yield recorder
    if report := os.environ.get("CGAGENT_TEST_RECORD"):
        Path(report).write_text(json.dumps([recorder.met, recorder.faults], indent=1))
    told = [f"{fault}   ({request})" for fault, request in sorted(recorder.faults.items())]
    if told:
        pytest.fail("answers that break docker's contract:\n" + "\n".join(told), pytrace=False)


@pytest.fixture(scope="session")
def host(agent, recorder):
    """The address for docker's clients."""
    with recorder.listening(agent.socket.with_name("docker.sock")) as address:
        yield address


@pytest.fixture
def docker(host, agent, tmp_path):
    """Run the docker command line: ``docker("ps", "-a")`` gives what it prints.

    `fails` is the exit status that is expected, None: any. Containers that it leaves are removed.
    """
    before = {c["id"] for c in agent.containers()}

    def run(*args, fails=0, stdin="", program=None, environ=None):
        done = subprocess.run(
            [str(program or dockers.cli()), "--config", str(tmp_path), "--host", host, *args],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60 * SLOWNESS,
            env={**os.environ, **(environ or {})},
        )
        assert fails in {None, done.returncode}, (args, done.returncode, done.stdout, done.stderr)
        return done.stderr.strip() if fails else done.stdout.strip()

    yield run
    for one in agent.containers():
        if one["id"] not in before:
            agent.remove(one["id"])


@pytest.fixture
def container(agent):
    """Launch a container by the native API; it is removed after the test."""
    made = []

    def launch(*command, **options):
        made.append(agent.launch(*command, **options))
        return made[-1]

    yield launch
    present = {c["id"] for c in agent.containers()}
    for one in made:
        if one in present:
            agent.remove(one)
