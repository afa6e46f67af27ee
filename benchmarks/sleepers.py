"""An agent with many containers that do nothing, and what it costs meanwhile."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.process import cpu_seconds
from cgagent.errors import CgagentError
from tests.world.agent import Agent
from tests.world.guest import STATE_FOLDER
from tests.world.images import busybox_docker_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_ONCE: Final = 4
_CALM_S: Final = 60.0
"""After so many starts, what they leave to be done is done."""


@contextmanager
def sleepers(count: int) -> Iterator[tuple[Agent, list[str]]]:
    """An agent and the ids of so many containers, a minute after the last one has been started."""
    Path(STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=STATE_FOLDER) as folder,
        Agent(Path(folder), forked=False) as agent,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        agent.load(busybox_docker_archive())
        made = list(pool.map(lambda _: _launch(agent), range(count)))
        time.sleep(_CALM_S)
        yield agent, made
        list(pool.map(lambda one: _remove(agent, one), made))


def share(agent: Agent, seconds: float) -> float:
    """Per cent of a core that the agent itself takes in that time."""
    before_s, began_s = cpu_seconds({agent.pid}), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds({agent.pid}) - before_s) / (time.monotonic() - began_s)


def _launch(agent: Agent) -> str:
    client = agent.client.another()
    body = {"image": "busybox", "command": ["sleep", "99999"]}
    made: str = client.request("POST", "/v1/containers", body)["id"]
    client.request("POST", f"/v1/containers/{made}/start")
    client.close()
    return made


def _remove(agent: Agent, container: str) -> None:
    client = agent.client.another()
    try:
        client.request("DELETE", f"/v1/containers/{container}?force=true")
    except CgagentError as error:
        print(f"{container[:12]} is left for the agent's end: {error.message}")
    client.close()
