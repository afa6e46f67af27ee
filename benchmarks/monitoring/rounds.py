"""What one round of sampling costs: CPU time of the whole agent, over the rounds that it made.

That does not depend on how fast the machine is in comparison with the interval, so it can be
compared between numbers of groups on a machine that is too slow for one round a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.process import pss_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.monitoring.programs import Exporter

_ROUNDS: Final = 11
"""As many as it takes to read each group in full once, and one."""
_TICKS: Final = "cgagent_sampler_ticks_total"
_SAMPLES: Final = "cgagent_sampler_samples_total"

COLUMNS: Final = (
    *("groups", "program", "CPU ms a round", "CPU us a group and round", "rounds"),
    *("left out", "MiB"),
)


class Result(NamedTuple):
    round_ms: float
    group_us: float
    """By the readings that were made."""
    rounds: float
    missed: float
    """Rounds that were left out as one before took longer than the interval."""
    memory_mib: float


def measure(agent: Exporter, groups: int, interval_s: float) -> Result:
    _wait_for_all(agent, groups, interval_s)
    began = _Moment(agent)
    time.sleep(_ROUNDS * interval_s)
    ended = _Moment(agent)
    spent_s, rounds = ended.cpu_s - began.cpu_s, ended.ticks - began.ticks
    return Result(
        1e3 * spent_s / rounds,
        1e6 * spent_s / (ended.samples - began.samples),
        rounds,
        ended.missed - began.missed,
        pss_bytes(agent.pids()) / 2**20,
    )


class _Moment:
    def __init__(self, agent: Exporter) -> None:
        self.ticks = agent.value(_TICKS)
        self.samples = agent.value(_SAMPLES)
        self.missed = agent.value("cgagent_sampler_missed_ticks_total")
        self.cpu_s = sum(map(_cpu_seconds, agent.pids()))


def _cpu_seconds(pid: int) -> float:
    """Of all its threads, to the nanosecond; utime and stime are told in ticks of 10 ms."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((t / "schedstat").read_text().split()[0]) for t in threads) / 1e9


def _wait_for_all(agent: Exporter, groups: int, interval_s: float) -> None:
    """Until a round has read every group, and one more: the first opens all files."""
    while agent.value(_SAMPLES) < groups * 2:
        time.sleep(interval_s)


def cells(got: Result) -> Iterator[str]:
    yield f"{got.round_ms:.1f}"
    yield f"{got.group_us:.0f}"
    yield f"{got.rounds:.0f}"
    yield f"{got.missed:.0f}"
    yield f"{got.memory_mib:.0f}"
