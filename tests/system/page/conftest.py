"""One agent and one browser for all tests of the page, and a container to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.world.agent import Agent, free_port
from tests.world.browser import WIDE, Browser


@pytest.fixture(scope="package")
def agent(state_root, alpine_docker_archive):
    port = free_port()
    with (
        tempfile.TemporaryDirectory(dir=state_root) as made,
        Agent(Path(made), "--ui-listen", f"127.0.0.1:{port}") as one,
    ):
        one.load(alpine_docker_archive)
        one.url = f"http://127.0.0.1:{port}"
        yield one


@pytest.fixture(scope="package")
def tokens(agent):
    """A token of the agent for each scope: ``{"read": TOKEN, "control": TOKEN}``."""
    return {
        scope: agent.client.request("POST", "/v1/tokens", {"name": scope, "scope": scope})["token"]
        for scope in ("read", "control")
    }


@pytest.fixture(scope="package")
def chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(agent, tokens, chromium):
    """The page, signed in to control by the link of ``cgagent ui``; in the end it complains not."""
    chromium.open(f"{agent.url}/ui/#token={tokens['control']}", viewport=WIDE)
    chromium.see("text=● live")
    yield chromium
    assert chromium.tell("complaints") == []


@pytest.fixture
def box(agent):
    """A container that echoes and has limits."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.2; done"
    limits = {"memory_max_bytes": 64 << 20, "cpus": 0.5}
    yield agent.launch("sh", "-c", script, name="box", limits=limits)
    agent.client.request("DELETE", "/v1/containers/box?force=true")
