"""Advised memory limits beside those of Kubernetes' vertical autoscaler, on made traces.

    python -m benchmarks.advice [--traces 60] [--days 14] [--seed 1]

Each trace is the memory of one container, a sample a minute. Both methods see the same samples,
give a limit each hour, and are told of each time that the limit was exceeded. Counted are the slack
(what of the limit is not used, on average) and these times. No package has the traces that Google
and Alibaba have published, so these are made: of nine kinds, with days and weeks of load.

The autoscaler's method as it is published (vertical-pod-autoscaler/docs and its recommender's
source): the peak of each day in a histogram with buckets of 5 % and a half-life of a day; its 90th
percentile and 15 %; after an OOM kill 20 % or 100 MiB more. Its least size of 250 MiB is left out,
which would be slack of small containers.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cgagent.cli.output import table
from cgagent.policy.advice.histogram import Histogram
from cgagent.policy.advice.use import Use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB: Final = 1 << 20
DAY: Final = 1440
HOUR: Final = 60
_LEARNING: Final = DAY
"""Minutes before the limits count: neither method knows anything before."""


class Method(Protocol):
    def add(self, used: float, minute: int) -> None: ...
    def oom(self, limit: float, minute: int) -> None: ...
    def limit(self) -> float: ...


class Vpa:
    """A histogram that has one sample of each day, its peak."""

    def __init__(self) -> None:
        self._days: dict[int, float] = {}

    def add(self, used: float, minute: int) -> None:
        day = minute // DAY
        self._days[day] = max(self._days.get(day, 0.0), used)

    def oom(self, limit: float, minute: int) -> None:
        self.add(max(1.2 * limit, limit + 100 * MIB), minute)

    def limit(self) -> float:
        histogram = Histogram(10 * MIB)
        for day, peak in self._days.items():
            histogram.add(peak, day * 86400.0)
        return 1.15 * (histogram.percentile(0.9) or 0.0)


class Ours:
    def __init__(self) -> None:
        self._use = Use(MIB)

    def add(self, used: float, minute: int) -> None:
        self._use.add(used, minute * 60.0)

    def oom(self, limit: float, minute: int) -> None:
        self._use.oom(limit, minute * 60.0)

    def limit(self) -> float:
        return self._use.advised() or 0.0


def _flat(r: random.Random, _: int) -> Callable[[int], float]:
    spread = r.uniform(0.002, 0.02)
    return lambda _: 1 + r.gauss(0, spread)


def _daily(r: random.Random, _: int) -> Callable[[int], float]:
    low, phase = r.uniform(0.2, 0.7), r.uniform(0, DAY)
    varied = [r.gauss(1, 0.03) for _ in range(99)]

    def at(minute: int) -> float:
        wave = (1 - math.cos(2 * math.pi * (minute + phase) / DAY)) / 2
        return (low + (1 - low) * wave * varied[minute // DAY]) * r.gauss(1, 0.01)

    return at


def _weekly(r: random.Random, days: int) -> Callable[[int], float]:
    daily, weekend = _daily(r, days), r.uniform(0.4, 0.7)
    return lambda minute: daily(minute) * (weekend if minute // DAY % 7 >= 5 else 1)


def _weekly_job(r: random.Random, _: int) -> Callable[[int], float]:
    base, at, length = r.uniform(0.4, 0.7), r.randrange(DAY), r.randrange(10, 90)
    return lambda minute: (
        r.gauss(1, 0.01) if at <= minute % (7 * DAY) < at + length else base * r.gauss(1, 0.01)
    )


def _nightly_job(r: random.Random, _: int) -> Callable[[int], float]:
    base, at, length = r.uniform(0.2, 0.6), r.randrange(DAY), r.randrange(5, 60)
    varied = [r.gauss(1, 0.05) for _ in range(99)]
    return lambda minute: (
        varied[minute // DAY] if at <= minute % DAY < at + length else base * r.gauss(1, 0.01)
    )


def _leaking(r: random.Random, _: int) -> Callable[[int], float]:
    """It is restarted every other day or so."""
    base, period = r.uniform(0.2, 0.5), r.randrange(DAY, 3 * DAY)
    return lambda minute: base + (1 - base) * (minute % period) / period + r.gauss(0, 0.005)


def _growing(r: random.Random, days: int) -> Callable[[int], float]:
    factor = r.uniform(1.2, 2.0)
    return lambda minute: (1 + (factor - 1) * minute / (days * DAY)) * r.gauss(1, 0.01) / factor


def _stepping(r: random.Random, days: int) -> Callable[[int], float]:
    """A new version now and then, which needs more or less."""
    levels = [r.uniform(0.5, 1.0) for _ in range(days // 4 + 1)]
    return lambda minute: levels[minute // (4 * DAY)] * r.gauss(1, 0.01)


def _bursty(r: random.Random, days: int) -> Callable[[int], float]:
    base = r.uniform(0.3, 0.6)
    bursts = {r.randrange(days * DAY): r.uniform(base, 1.0) for _ in range(days * 6)}
    last = [0, 0.0]

    def at(minute: int) -> float:
        if minute in bursts:
            last[:] = [minute + 10, bursts[minute]]
        return max(base * r.gauss(1, 0.02), last[1] if minute < last[0] else 0.0)

    return at


KINDS: Final = {
    "flat": _flat,
    "daily": _daily,
    "weekly": _weekly,
    "nightly job": _nightly_job,
    "weekly job": _weekly_job,
    "leaking": _leaking,
    "growing": _growing,
    "stepping": _stepping,
    "bursty": _bursty,
}


@dataclass
class Outcome:
    slack: float = 0.0
    ooms: int = 0
    samples: int = 0


def trace(kind: str, seed: int, days: int) -> Iterator[float]:
    r = random.Random(seed)  # noqa: S311 - no secrets
    size, shape = math.exp(r.uniform(math.log(24), math.log(8192))) * MIB, KINDS[kind](r, days)
    return (size * max(shape(minute), 0.02) for minute in range(days * DAY))


def play(method: Method, samples: Iterator[float]) -> Outcome:
    """After an OOM kill the process begins anew, with a limit that allows for it."""
    found, limit = Outcome(), math.inf
    for minute, used in enumerate(samples):
        if minute % HOUR == 0 and minute >= _LEARNING:
            limit = method.limit()
        if used > limit:
            found.ooms += 1
            method.oom(limit, minute)
            limit = method.limit()
        method.add(min(used, limit), minute)
        if minute >= _LEARNING:
            found.slack += max(1 - used / limit, 0.0)
            found.samples += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=63)
    parser.add_argument("--days", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.perf_counter()
    methods: dict[str, Callable[[], Method]] = {"VPA": Vpa, "cgagent": Ours}
    found = {kind: {name: Outcome() for name in methods} for kind in (*KINDS, "all")}
    for number in range(args.traces):
        kind = list(KINDS)[number % len(KINDS)]
        for name, method in methods.items():
            outcome = play(method(), trace(kind, args.seed * 1000 + number, args.days))
            for into in (found[kind][name], found["all"][name]):
                into.slack += outcome.slack
                into.ooms += outcome.ooms
                into.samples += outcome.samples
    headings = ("TRACES", *(f"{name}: {what}" for name in methods for what in ("SLACK", "OOMS")))
    rows = [
        (
            kind,
            *(
                text
                for name in methods
                for one in [outcomes[name]]
                for text in (f"{100 * one.slack / max(one.samples, 1):.1f} %", str(one.ooms))
            ),
        )
        for kind, outcomes in found.items()
    ]
    print(table(headings, rows))
    print(f"{args.traces} traces of {args.days} days in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
