"""Measures what idle rulesets cost the agent: ``python -m benchmarks.idle_rulesets``.

An agent with containers that sleep, sampled each second as always, without rulesets and with ten
that watch all of them, in turn. Printed is the CPU time of the agent, in percent of one core. Run
it in a network namespace of its own: ``unshare -n sh -c 'ip link set lo up; ...'``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.sleepers import share, sleepers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.world.agent import Agent

_SETTLE_S: Final = 10.0
_CONDITIONS: Final[tuple[Mapping[str, Any], ...]] = (
    {"detector": "pressure-above", "resource": "cpu", "kind": "some", "above": "20%"},
    {"detector": "pressure-above", "resource": "memory", "kind": "full", "above": "10%"},
    {"detector": "pressure-above", "resource": "io", "kind": "some", "above": "30%"},
    {"detector": "memory-above", "of": "working-set", "above": "90%"},
    {"detector": "throttled-above", "above": "25%"},
    {"detector": "pids-above", "above": "90%"},
    {"detector": "cpu-above", "above": 1.5},
    {"detector": "io-above", "above": "100m"},
    {"detector": "network-above", "above": "500m"},
    {"detector": "dying-above", "above": 1000},
)


def _rulesets() -> list[dict[str, Any]]:
    return [
        {
            "name": f"idle-{number}",
            "select": {"name": "*"},
            "when": {**condition, "for": "10s"},
            "grade": [{"action": "weight", "cpu": 1}, {"action": "freeze", "for": "10s"}],
        }
        for number, condition in enumerate(_CONDITIONS)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle_rulesets")
    parser.add_argument("--containers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each figure")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _measure(agent: Agent, options: argparse.Namespace) -> float:
    """How much more of a core with them, by the medians of what each took."""
    without, with_rules = [], []
    for _ in range(options.rounds):
        time.sleep(_SETTLE_S)
        without.append(share(agent, options.seconds))
        agent.client.request("POST", "/v1/policies", {"ruleset": _rulesets()})
        time.sleep(_SETTLE_S)
        with_rules.append(share(agent, options.seconds))
        for number in range(len(_CONDITIONS)):
            agent.client.request("DELETE", f"/v1/policies/idle-{number}")
        print(f"without {without[-1]:.2f} %   with {with_rules[-1]:.2f} %", flush=True)
    return statistics.median(with_rules) - statistics.median(without)


def main() -> None:
    options = _options()
    with sleepers(options.containers) as (agent, _):
        more = _measure(agent, options)
    count = len(_CONDITIONS)
    print(f"{options.containers} containers, {count} rulesets: {more:+.2f} % of a core")


if __name__ == "__main__":
    main()
