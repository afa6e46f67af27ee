"""What is measured.

Latencies are sampled in interleaved rounds, so that a busy moment of the machine hits every peer
alike; a full host is built for one peer after the other.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.peers import Api, Engine, Peer
from benchmarks.process import cpu_seconds, pss_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of one peer. Less is better, always."""

    measure: str
    unit: str
    peer: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def p95(self) -> float | None:
        """None for a single sample."""
        if len(self.samples) == 1:
            return None
        return statistics.quantiles(self.samples, n=20, method="inclusive")[-1]


RUN = "run --rm true, whole command"
BY_API = "create, start, wait over the socket"
EXEC = "exec true, whole command"
FREEZE = "freeze and thaw, two commands"


def latencies(peers: list[Peer], rounds: int) -> list[Row]:
    """Each verb once per peer and round; one round before is not counted."""
    sleeping = {peer.name: peer.start() for peer in peers}
    samples: dict[tuple[str, str], list[float]] = {}
    try:
        for number in range(rounds + 1):
            for peer in peers:
                for measure, sample in _verbs(peer, sleeping[peer.name]):
                    if number:
                        samples.setdefault((measure, peer.name), []).append(sample)
    finally:
        for peer in peers:
            peer.remove([sleeping[peer.name]])
    order = (RUN, BY_API, EXEC, FREEZE)
    return [
        Row(measure, "ms", peer, tuple(taken))
        for (measure, peer), taken in sorted(samples.items(), key=lambda i: order.index(i[0][0]))
    ]


def _verbs(peer: Peer, sleeping: str) -> Iterator[tuple[str, float]]:
    yield RUN, _timed_ms(peer.run)
    if isinstance(peer, Api):
        began = time.perf_counter()
        container = peer.run_by_api()
        yield BY_API, (time.perf_counter() - began) * 1e3
        peer.remove([container])
    yield EXEC, _timed_ms(lambda: peer.exec(sleeping))

    def freeze_and_thaw() -> None:
        peer.freeze(sleeping)
        peer.thaw(sleeping)

    yield FREEZE, _timed_ms(freeze_and_thaw)


def full_host(peers: list[Peer], containers: int, idle_s: float) -> list[Row]:
    """Start many, watch them idle, remove them."""
    rows = [
        row for peer in peers if isinstance(peer, Engine) for row in _fill(peer, containers, idle_s)
    ]
    order = list(dict.fromkeys(row.measure for row in rows))
    return sorted(rows, key=lambda row: order.index(row.measure))


def _fill(peer: Peer, containers: int, idle_s: float) -> Iterator[Row]:
    assert isinstance(peer, Engine)  # noqa: S101 - narrows a protocol
    pss_before = pss_bytes(peer.engine_pids())
    started: list[str] = []
    try:
        start_ms = _timed_ms(lambda: started.extend(peer.start() for _ in range(containers)))
        engine = peer.engine_pids()
        pss_full = pss_bytes(engine)
        cpu_before = cpu_seconds(engine)
        time.sleep(idle_s)
        idle_percent = 100 * (cpu_seconds(engine) - cpu_before) / idle_s
    finally:
        remove_ms = _timed_ms(lambda: peer.remove(started))
    mib = 1 << 20
    yield Row(f"{containers} containers started", "ms", peer.name, (start_ms,))
    yield Row(f"{containers} containers removed", "ms", peer.name, (remove_ms,))
    yield Row("engine's memory, no container", "MiB", peer.name, (pss_before / mib,))
    each = (pss_full - pss_before) / containers / mib
    yield Row(f"engine's memory for each of {containers}", "MiB", peer.name, (each,))
    yield Row(f"engine's CPU, {containers} idle", "% of a core", peer.name, (idle_percent,))


def _timed_ms(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e3
