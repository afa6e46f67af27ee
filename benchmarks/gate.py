"""The speed gate: has cgagent become slower than when its speed was last recorded?

A machine's own speed is taken out: what is recorded and compared are ratios of cgagent's medians
to crun's, and to the start of a bare Python interpreter, measured in the same run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.measures import Row

RECORD: Final = Path(__file__).parent / "recorded.json"
PEERS: Final = ("cgagent", "crun")
_INTERPRETER: Final = "interpreter"
_ROUNDS: Final = 40
_TOLERANCE: Final = 1.15
"""A ratio may be so many times the recorded one: as much as a quiet machine's runs differ."""

Ratios = dict[str, dict[str, float]]
"""The first key is the measure, the second what cgagent is compared with."""


def interpreter_ms() -> float:
    """The median of a bare interpreter's start and end."""
    command = [sys.executable, "-I", "-S", "-c", "pass"]
    taken = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


def ratios(rows: Iterable[Row], interpreter: float) -> Ratios:
    """Return the ratios of all measures in milliseconds, the unit of `interpreter` as well."""
    medians: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.unit == "ms":
            medians.setdefault(row.measure, {})[row.peer] = row.median
    found: Ratios = {}
    for measure, by_peer in medians.items():
        ours = by_peer.get(PEERS[0])
        if ours is None:
            continue
        others = {_INTERPRETER: interpreter, **by_peer}
        del others[PEERS[0]]
        found[measure] = {name: round(ours / ms, 3) for name, ms in others.items()}
    return found


def slower(now: Ratios, recorded: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A line for each measure that has become slower beside all that it is compared with."""
    found = []
    for measure, before in recorded.items():
        common = {name: now[measure][name] for name in before if name in now.get(measure, {})}
        if common and all(ratio > before[name] * _TOLERANCE for name, ratio in common.items()):
            told = ", ".join(f"{before[n]:.2f} to {r:.2f} of {n}'s" for n, r in common.items())
            found.append(f"{measure}: from {told}")
    return found


def record(now: Ratios) -> None:
    RECORD.write_text(json.dumps(now, indent=2, sort_keys=True) + "\n")


def check(now: Ratios) -> int:
    """Print what got slower; the exit status."""
    found = slower(now, json.loads(RECORD.read_text()))
    for line in found:
        print(f"slower: {line}")
    if not found:
        print("nothing is slower than when it was recorded")
    return 1 if found else 0
