"""Is anything ended while something gentler still works? ``python -m benchmarks.overloads``.

Random overloads, one after the other: containers that burn CPU beside one that waits for it, and
containers that outgrow their memory.high. Each ends by itself after a random time. A ruleset with
grades from gentle to harsh watches. For every end that it decides on it is checked, by the kernel's
own pressure figures read beside it, that the trouble was there without a break since the grade
before, and that all gentler grades had been taken of the same victim or told to be impossible.
Run it in a network namespace: ``unshare -n sh -c 'ip link set lo up; ...'``.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import Host
from cgagent.errors import NotFoundError
from tests.world import guest, images
from tests.world.agent import Agent

if TYPE_CHECKING:
    from cgagent.cgroups import Group

_NONE: Final = [{"network": "none"}]
_AFTER_S: Final = 3
_LOOK_S: Final = 0.1
_WATCHED: Final = "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.05; done"
_BURN: Final = "for n in $(seq {count}); do (while :; do :; done) & done; sleep {end}; kill 0"
_GROW: Final = """
import sys, time
size, end = int(sys.argv[1]) << 20, time.monotonic() + float(sys.argv[2])
pages = bytearray(size)
while time.monotonic() < end:
    for at in range(0, size, 4096):
        pages[at] = 1
del pages
time.sleep(1000)
"""
_GRADES: Final[dict[str, list[dict[str, Any]]]] = {
    "cpu": [
        {"action": "weight", "cpu": "idle"},
        {"action": "cpu-cap", "cpus": 0.1, "after": _AFTER_S},
        {"action": "freeze", "for": "10s", "after": _AFTER_S},
        {"action": "kill", "after": _AFTER_S},
    ],
    "memory": [
        {"action": "raise", "limit": "memory-high", "by": "50%", "to": "96m"},
        {"action": "reclaim", "amount": "10%", "after": _AFTER_S},
        {"action": "kill", "after": _AFTER_S},
    ],
}
_BOUNDS: Final = {"cpu": (10, 2), "memory": (20, 5)}
"""Percent of the time in which it waits: where trouble begins, and where it ends."""


@dataclass(slots=True)
class _Pressure:
    """A thread reads again and again how long a group has waited."""

    group: Group
    resource: str
    seen: list[tuple[float, int]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.is_over.wait(_LOOK_S):
            try:
                found = getattr(self.group.usage().pressure, self.resource)
            except NotFoundError:  # it was ended
                return
            if found is not None:
                self.seen.append((time.time(), found.some.total_ns))

    def share(self, since: float, until: float) -> float:
        """Percent of that time."""
        part = [one for one in self.seen if since <= one[0] <= until]
        (began, first), (ended, last) = part[0], part[-1]
        return (last - first) / 1e7 / (ended - began)


def _ruleset(name: str, kind: str) -> dict[str, Any]:
    above, clear = _BOUNDS[kind]
    found: dict[str, Any] = {
        "name": name,
        "select": {"label": "watched"},
        "when": {
            "detector": "pressure-above",
            "resource": kind,
            "kind": "some",
            "over": "1s",
            "above": f"{above}%",
            "clear": f"{clear}%",
            "for": "1s",
        },
        "cool-down": "5s",
        "clear-for": "5s",
        "grade": _GRADES[kind],
    }
    if kind == "cpu":
        found["against"] = {"label": "noisy", "most": "cpu", "at-least": 0.02}
    return found


def _begin(agent: Agent, kind: str, chosen: random.Random) -> tuple[str, list[str], float]:
    """The container that is watched, all of them, and when the trouble ends by itself."""
    end = chosen.uniform(3, 20)
    if kind == "memory":
        command = (
            sys.executable,
            "-I",
            "-S",
            "-c",
            _GROW,
            str(chosen.randrange(40, 160)),
            str(end),
        )
        limits = {"memory_high_bytes": 32 << 20, "memory_max_bytes": 200 << 20}
        one = agent.launch(
            *command, image="host", networks=_NONE, limits=limits, labels={"watched": "1"}
        )
        return one, [one], end
    watched = agent.launch("sh", "-c", _WATCHED, networks=_NONE, labels={"watched": "1"})
    burn = ("sh", "-c", _BURN.format(count=chosen.randrange(1, 6), end=end))
    noisy = [
        agent.launch(*burn, networks=_NONE, labels={"noisy": "1"})
        for _ in range(chosen.randrange(1, 4))
    ]
    return watched, [watched, *noisy], end


def _play(agent: Agent, number: int, kind: str, chosen: random.Random) -> tuple[int, list[str]]:
    """How many were ended, and what is wrong with that."""
    watched, all_, end = _begin(agent, kind, chosen)
    group = Host.detect().group(f"{agent.cgroup_parent}/{watched}")
    pressure = _Pressure(group, kind)
    reader = threading.Thread(target=pressure.run)
    reader.start()
    name = f"graded-{number}"
    agent.client.request("POST", "/v1/policies", {"ruleset": [_ruleset(name, kind)]})
    time.sleep(end + 8)
    told = list(reversed(agent.client.request("GET", f"/v1/decisions?policy={name}&limit=200")))
    agent.client.request("DELETE", f"/v1/policies/{name}")
    pressure.is_over.set()
    reader.join()
    kills, wrong = 0, []
    for place, one in enumerate(told):
        if one["action"] == "kill" and one["outcome"] == "done":
            kills += 1
            wrong += [
                f"overload {number}: {text}" for text in _faults(told[:place], one, kind, pressure)
            ]
    done = [one["action"] for one in told if one["outcome"] == "done"]
    print(f"{number:3} {kind:7} for {end:4.1f} s: {', '.join(done) or 'nothing'}", flush=True)
    for one in all_:
        agent.remove(one)
    return kills, wrong


def _faults(
    before: list[dict[str, Any]], kill: dict[str, Any], kind: str, pressure: _Pressure
) -> list[str]:
    gentler = [grade["action"].replace("-", "_") for grade in _GRADES[kind][:-1]]
    of_it = [one["action"] for one in before if one["target"] == kill["target"]]
    found = [f"{action} was not tried" for action in gentler if action not in of_it]
    at = kill["time_ns"] / 1e9
    share = pressure.share(at - _AFTER_S, at)
    if share < _BOUNDS[kind][1]:
        found.append(f"it waited {share:.1f} % of the last {_AFTER_S} s alone")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overloads")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    memory = Host.detect().placements.get("memory")
    with_high = memory is not None and memory.version == 2
    parser.add_argument("--kinds", default="cpu,memory" if with_high else "cpu")
    options = parser.parse_args()
    chosen = random.Random(options.seed)  # noqa: S311 - anything will do
    Path(guest.STATE_FOLDER).mkdir(exist_ok=True)
    kills, wrong = 0, list[str]()
    with (
        tempfile.TemporaryDirectory(dir=guest.STATE_FOLDER) as folder,
        Agent(Path(folder)) as agent,
    ):
        agent.load(images.alpine_docker_archive())
        for number in range(options.count):
            ended, faults = _play(agent, number, chosen.choice(options.kinds.split(",")), chosen)
            kills += ended
            wrong += faults
    print(
        f"{options.count} overloads, {kills} ended, {len(wrong)} of them too early",
        *wrong,
        sep="\n",
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
