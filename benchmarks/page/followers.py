"""Measures the agent's share of a core with 200 containers, with and without open pages.

What they add is to the mean of what it takes without any, before and after. A page is what it asks
for: the stream of the fleet, and with one container open its figures, events, disks and details as
often as the page asks for them. The browser's own work is left out.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from benchmarks.sleepers import share, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.agent import Agent

_SETTLE_S: Final = 5.0


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


def with_pages(agent: Agent, pages: int, opened: str | None, seconds: float) -> float:
    """Per cent of a core that the agent takes meanwhile."""
    with ExitStack() as stack:
        for _ in range(pages):
            stack.enter_context(Page(agent, opened))
        time.sleep(_SETTLE_S)
        return share(agent, seconds)


def measure(containers: int, seconds: float) -> None:
    with sleepers(containers) as (agent, made):
        before = share(agent, seconds)
        print(f"{containers} containers, no page: {before:.2f} % of a core", flush=True)
        for pages in (1, 10):
            for what, opened in (("the table", None), ("one container", made[0])):
                found = with_pages(agent, pages, opened, seconds)
                time.sleep(_SETTLE_S)
                after = share(agent, seconds)
                more = f"{found:.2f} %, {found - (before + after) / 2:+.2f}"
                print(f"{pages:2d} with {what} open: {more}; none: {after:.2f} %", flush=True)
                before = after
