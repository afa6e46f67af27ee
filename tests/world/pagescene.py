"""The page's views, and containers in each state that has a look of its own there."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world.agent import Agent
    from tests.world.browser import Browser

_MIB: Final = 1 << 20
_WORK: Final = "i=0; while :; do i=$((i+1)); [ $((i % 40000)) = 0 ] && sleep 0.2; done"
_FILL: Final = "head -c 40000000 /dev/zero >/dev/shm/x; cat; sleep 1000"
_RULESET: Final[dict[str, Any]] = {
    "name": "calm-batch",
    "description": "what is labelled as batch work yields when others wait for a CPU",
    "select": {"label": "tier=batch"},
    "when": {"detector": "pressure-above", "resource": "cpu", "kind": "some", "above": "40%"},
    "grade": [{"action": "weight", "cpu": 1}, {"action": "freeze", "for": "10s", "after": "1h"}],
}


@dataclass(frozen=True, slots=True)
class View:
    place: str
    shown: str
    """A selector of what is there when the view is."""
    clicked: tuple[str, ...] = ()
    """For its picture, one after the other."""
    typed: str = ""
    drawn: str = ""
    """What is there after that."""


VIEWS: Final = {
    "fleet": View("#/", "[role=row] >> text=box", drawn=".figure:has(polygon) >> nth=3"),
    "container": View("#/containers/web", ".chart >> nth=5"),
    "logs": View("#/containers/box/logs", "text=lines, following"),
    "limits": View("#/containers/box/limits", "#cpus"),
    "held": View("#/containers/web/held", "text=night-shift"),
    "host": View("#/host", "text=How to have it"),
    "cgroups": View("#/cgroups", "[role=treeitem]"),
    "images": View("#/images", "[role=row] >> text=alpine"),
    "builds": View("#/builds", "summary"),
}
"""One of each kind, whose looks are the same whatever has happened before."""

PICTURES: Final = {
    **VIEWS,
    "configuration": View("#/containers/box/configuration", "dl"),
    "groups": View("#/groups", "[role=row] >> text=team"),
    "jobs": View("#/jobs", "[role=row] >> text=start"),
    "advice": View("#/advice", "[role=grid]"),
    "why": View(
        "#/containers/web/why", "text=the next second", ("text=the next second",), "", ".verdict"
    ),
    "terminal": View(
        "#/containers/box/terminal",
        "text=Open a shell",
        ("text=Open a shell", ".screen"),
        "ls -l /\n",
        "text=Connected",
    ),
    "processes": View("#/containers/box/processes", "th >> text=CMD"),
    "builds": View("#/builds", "summary", ("summary", ".build button"), "", "text=Built."),
    "networks": View("#/networks", "[role=row] >> text=front"),
    "volumes": View("#/volumes", "[role=row] >> text=data"),
    "policies": View(
        "#/policies", "[role=row] >> text=calm-batch", ("[role=row] >> text=calm-batch",)
    ),
    "decisions": View("#/decisions", "[role=row] >> text=budget"),
}
"""All of them, with something in each."""


@contextmanager
def scene(agent: Agent) -> Iterator[None]:
    """Beside a container ``box``, which is there already."""
    with_limits = {"memory_max_bytes": 64 * _MIB, "cpus": 0.5}
    budget = {"budget": "cpu=3s/1h:throttle=0.2", "boost": "cpus=1,for=1h"}
    sized = {"auto_size": "memory=64m..512m"}
    labels = {"tier": "batch"}
    room = {"limits": {"memory_max_bytes": 512 * _MIB}, "budget": "cpu=1h/24h"}
    agent.client.request("POST", "/v1/groups", {"name": "team", **room})
    names = {
        "web": agent.launch(
            "sh", "-c", _WORK, name="web", limits=with_limits, labels=labels, **budget
        ),
        "db": agent.launch(
            "sh", "-c", _FILL, name="db", limits={"memory_max_bytes": 128 * _MIB}, **sized
        ),
        "cron": agent.launch("sleep", "1000", name="cron", group="team"),
        "mail": agent.launch("sleep", "1000", name="mail", group="team"),
        "batch": agent.launch("sh", "-c", "exit 3", name="batch"),
    }
    held = {"reason": "backups have the disk until six", "limits": {"memory_max_bytes": 48 * _MIB}}
    agent.client.request("PUT", f"/v1/containers/{names['web']}/overrides/night-shift", held)
    agent.post(names["cron"], "freeze")
    agent.post(names["mail"], "hibernate")
    for verb in ("freeze", "thaw"):
        agent.post(names["web"], verb)
    try:
        yield
    finally:
        for name in names:
            agent.client.request("DELETE", f"/v1/containers/{name}?force=true")
        agent.client.request("DELETE", "/v1/groups/team")


@contextmanager
def more(agent: Agent) -> Iterator[None]:
    """What pictures alone show."""
    agent.client.request("POST", "/v1/volumes", {"name": "data"})
    agent.client.request("POST", "/v1/networks", {"name": "front"})
    agent.client.request("POST", "/v1/policies", {"ruleset": [_RULESET]})
    try:
        yield
    finally:
        agent.client.request("DELETE", "/v1/policies/calm-batch")
        agent.client.request("DELETE", "/v1/networks/front")
        agent.client.request("DELETE", "/v1/volumes/data")


def take(browser: Browser, name: str, path: str) -> None:
    """A picture of a view that is open, with something in it."""
    view = PICTURES[name]
    for selector in view.clicked:
        browser.click(selector)
    if view.typed:
        browser.see(view.drawn)
        browser.tell("type", view.typed)
    if view.drawn:
        browser.see(view.drawn)
    time.sleep(0.5)  # charts are drawn, and what was typed is answered
    browser.tell("picture", path, {})
