"""Measures the agent's share of a core with 200 containers, with and without open pages.

What they add is to the mean of what it takes without any, before and after. A page is what it asks
for: the stream of the fleet, and with one container open its figures, events, disks and details as
often as the page asks for them. The browser's own work is left out.
"""

from __future__ import annotations

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.process import cpu_seconds
from cgagent.errors import CgagentError
from tests.world.agent import Agent
from tests.world.guest import STATE_FOLDER
from tests.world.images import busybox_docker_archive

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_ONCE: Final = 4
_SETTLE_S: Final = 5.0
_CALM_S: Final = 60.0
"""After so many starts, what they leave to be done is done."""


class Page:
    """Asks for what an open page does, in threads of its own; for a ``with``."""

    def __init__(self, agent: Agent, opened: str | None) -> None:
        self._agent = agent
        self._ended = threading.Event()
        self._last_event = 0
        self._work: list[Callable[[], None]] = [self._follow]
        if opened:
            own = f"/v1/containers/{opened}"
            self._work += [
                lambda: self._ask(15, lambda: f"{own}/stats?since={time.time() - 15}"),
                lambda: self._events(opened),
                lambda: self._ask(30, lambda: f"{own}/stats"),
                lambda: self._ask(30, lambda: own),
            ]
        self._threads = [threading.Thread(target=one, daemon=True) for one in self._work]
        self._fleet = agent.client.another()

    def __enter__(self) -> None:
        for one in self._threads:
            one.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for one in self._threads:
            one.join()

    def _follow(self) -> None:
        for line in self._fleet.lines("GET", "/v1/fleet?follow=true"):
            self._last_event = line["last_event"]
            if self._ended.is_set():
                return

    def _ask(self, every_s: float, path: Callable[[], str]) -> None:
        client = self._agent.client.another()
        while not self._ended.wait(every_s):
            client.request("GET", path())
        client.close()

    def _events(self, opened: str) -> None:
        """Ask for the events after the last one, when anything has happened."""
        client, last = self._agent.client.another(), 0
        while not self._ended.wait(10):
            if self._last_event <= last:
                continue
            up_to = self._last_event
            headers = (f"Last-Event-ID: {last}",)
            path = f"/v1/events?filter=container={opened}"
            found = [one["number"] for one in client.lines("GET", path, headers=headers)]
            last = max([up_to, *found])


def share(agent: Agent, pages: int, opened: str | None, seconds: float) -> float:
    """Per cent of a core that the agent takes meanwhile."""
    with ExitStack() as stack:
        for _ in range(pages):
            stack.enter_context(Page(agent, opened))
        time.sleep(_SETTLE_S)
        before_s, began_s = cpu_seconds({agent.pid}), time.monotonic()
        time.sleep(seconds)
        return 100 * (cpu_seconds({agent.pid}) - before_s) / (time.monotonic() - began_s)


def measure(containers: int, seconds: float) -> None:
    Path(STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE_FOLDER) as folder, Agent(Path(folder)) as agent:
        agent.load(busybox_docker_archive())
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            made = list(pool.map(lambda _: _sleeper(agent), range(containers)))
        time.sleep(_CALM_S)
        before = share(agent, 0, None, seconds)
        print(f"{containers} containers, no page: {before:.2f} % of a core", flush=True)
        for pages in (1, 10):
            for what, opened in (("the table", None), ("one container", made[0])):
                found = share(agent, pages, opened, seconds)
                after = share(agent, 0, None, seconds)
                more = f"{found:.2f} %, {found - (before + after) / 2:+.2f}"
                print(f"{pages:2d} with {what} open: {more}; none: {after:.2f} %", flush=True)
                before = after
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda one: _remove(agent, one), made))


def _sleeper(agent: Agent) -> str:
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
