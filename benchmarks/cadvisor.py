"""Compare cgagent's series with cAdvisor's of the same groups: ``python -m benchmarks.cadvisor``.

Both run and are only scraped, each 5 s: ``--cgagent URL --cadvisor URL --below GROUP/``. They
sample at times of their own. So the values of a counter must lie between those that cAdvisor has
near that time, and a gauge's between all that it has. No counter may fall, and user and system time
are together the usage.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
import urllib.request
from collections import defaultdict
from itertools import pairwise
from typing import Final

Key = tuple[str, frozenset[tuple[str, str]]]
"""A family, and the labels of one series of it but its name and image."""
Points = dict[Key, list[tuple[float, float]]]
"""Times in seconds since 1970, and values."""

_LINE: Final = re.compile(r"(\w+)\{(.*)\} (\S+)(?: (\d+))?")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_EACH_S: Final = 5.0
_NEAR_S: Final = 11.0
"""How far apart two readings may be: two full rounds of cgagent's sampler."""
_COUNTERS: Final = ("_total", "_failcnt")
_COUNTER_ROOM: Final = 0.01
_GAUGE_ROOM: Final = 0.05
_OUTSIDE: Final = 0.02
"""This share of a gauge's values may differ: a peak that only one of both programs has seen."""
_LEAST_ROOM: Final = {"seconds": 0.02, "bytes": 65536, "usage": 65536, "rss": 65536}
"""The tolerance goes by the end of the name: two clock ticks, or bytes counted ahead per CPU."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cadvisor")
    parser.add_argument("--cgagent", default="http://127.0.0.1:9753/metrics")
    parser.add_argument("--cadvisor", default="http://127.0.0.1:8080/metrics")
    parser.add_argument("--below", default="/cgagent/", help="only groups with such a path")
    parser.add_argument("--seconds", type=float, default=600.0)
    return parser.parse_args()


def take(text: str, now_s: float, below: str, into: Points) -> None:
    """Add the groups' values of one scrape to `into`; CPU time is summed over the CPUs."""
    sums: dict[Key, float] = defaultdict(float)
    times: dict[Key, float] = {}
    for name, labels, value, stamp in _LINE.findall(text):
        found = dict(_LABEL.findall(labels))
        if found.get("id", "").startswith(below):
            kept = {k: v for k, v in found.items() if k not in {"name", "image", "cpu"}}
            key = name, frozenset(kept.items())
            sums[key] += float(value)
            times[key] = int(stamp) / 1000 if stamp else now_s
    for key, total in sums.items():
        into[key].append((times[key], total))


def report(ours: Points, theirs: Points) -> bool:
    """Print each family that both have; whether all are equal."""
    families = sorted({name for name, _ in ours} & {name for name, _ in theirs})
    is_equal = True
    for family in families:
        keys = [key for key in ours if key[0] == family and key in theirs]
        count = sum(len(ours[key]) for key in keys)
        outside = [text for key in keys for text in _outside(key, ours, theirs)]
        differs = len(outside) > _OUTSIDE * count
        is_equal &= not differs
        verdict = "DIFFERS" if differs else "equal"
        print(
            f"{family}: {verdict}, {len(keys)} series, {len(outside)} of {count} values outside",
            end="",
        )
        print(*outside[: 3 * differs])
    for whose, points, others in (("cgagent", ours, theirs), ("cAdvisor", theirs, ours)):
        alone = {name for name, _ in points} - {name for name, _ in others}
        print(f"{whose}'s alone:", *sorted(alone))
        print(f"{whose}: {len(points)} series; user + system: {_division(points)}; fell:", end=" ")
        print(*(f"{name} {dict(labels)}" for name, labels in _falls(points)))
    return is_equal and not _falls(ours)


def _outside(key: Key, ours: Points, theirs: Points) -> list[str]:
    """Values that are not between cAdvisor's: a counter's near that time, a gauge's at any time."""
    is_counter = key[0].endswith(_COUNTERS)
    window_s = _NEAR_S if is_counter else math.inf
    first_s, last_s = theirs[key][0][0] + _NEAR_S, theirs[key][-1][0] - _NEAR_S
    found = []
    for at_s, value in ours[key]:
        near = [v for s, v in theirs[key] if abs(s - at_s) <= window_s]
        if near and first_s <= at_s <= last_s:  # what was before and after is not known
            least = _LEAST_ROOM.get(key[0].removesuffix("_total").rpartition("_")[2], 0.0)
            room = max((_COUNTER_ROOM if is_counter else _GAUGE_ROOM) * max(near), least)
            if not min(near) - room <= value <= max(near) + room:
                range_ = f"{min(near):g} to {max(near):g}"
                found.append(f"\n    {dict(key[1])} {value:g}, not {range_}")
    return found


def _falls(points: Points) -> list[Key]:
    return [
        key
        for key, seen in points.items()
        if key[0].endswith(_COUNTERS) and any(b < a for (_, a), (_, b) in pairwise(seen))
    ]


def _division(points: Points) -> str:
    """How far user and system time are from the usage in the last scrape."""
    usage, user, system = (
        {labels: seen[-1][1] for (name, labels), seen in points.items() if name == family}
        for family in (f"container_cpu_{x}_seconds_total" for x in ("usage", "user", "system"))
    )
    shares = [
        abs(user[labels] + system[labels] - used) / used
        for labels, used in usage.items()
        if used and labels in user and labels in system
    ]
    return f"{max(shares, default=0):.2%} from the usage at most"


def _scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the caller's own URLs
        body: bytes = answer.read()
    return body.decode()


def main() -> int:
    options = _options()
    ours: Points = defaultdict(list)
    theirs: Points = defaultdict(list)
    ends_s, sizes = time.monotonic() + options.seconds, (0, 0)
    while time.monotonic() < ends_s:
        texts = _scrape(options.cgagent), _scrape(options.cadvisor)
        for text, points in zip(texts, (ours, theirs), strict=True):
            take(text, time.time(), options.below, points)
        sizes = len(texts[0]), len(texts[1])
        time.sleep(_EACH_S)
    is_equal = report(ours, theirs)
    print(f"Bytes of the last scrape: cgagent {sizes[0]}, cAdvisor {sizes[1]}")
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
