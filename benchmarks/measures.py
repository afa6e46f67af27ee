"""What is measured.

Latencies are sampled in interleaved rounds, so that a busy moment of the machine hits every peer
alike; a full host is built for one peer after the other.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import Api, Engine, Peer
from benchmarks.process import Failure, cpu_seconds, pss_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG_MIB = 100
_WRITERS = 10


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


def latencies(peers: list[Peer], rounds: int, notes: list[str]) -> list[Row]:
    """Each verb once per peer and round; one round before is not counted.

    A verb that fails is not tried again with that peer; `notes` gets its words.
    """
    sleeping = {peer.name: peer.start() for peer in peers}
    wanted = [(verb, peer) for verb in _VERBS for peer in peers if _applies(verb, peer)]
    samples: dict[tuple[str, str], list[float]] = {(verb, p.name): [] for verb, p in wanted}
    try:
        for number in range(rounds + 1):
            for verb, peer in list(wanted):
                try:
                    sample = _VERBS[verb](peer, sleeping[peer.name])
                except Failure as failure:
                    wanted.remove((verb, peer))
                    notes.append(f"{peer.name}, {verb}: {failure}")
                else:
                    if number:
                        samples[verb, peer.name].append(sample)
    finally:
        for peer in peers:
            peer.remove([sleeping[peer.name]])
    return [Row(verb, "ms", peer, tuple(taken)) for (verb, peer), taken in samples.items() if taken]


def _run_ms(peer: Peer, _sleeping: str) -> float:
    return _timed_ms(peer.run)


def _run_by_api_ms(peer: Peer, _sleeping: str) -> float:
    assert isinstance(peer, Api)  # noqa: S101 - as _applies says
    began = time.perf_counter()
    container = peer.run_by_api()
    taken = (time.perf_counter() - began) * 1e3
    peer.remove([container])
    return taken


def _start_by_api_ms(peer: Peer, _sleeping: str, *, before: int = 0) -> float:
    """Of one of several that have been created: what an engine has made ready is used up then."""
    assert isinstance(peer, Api)  # noqa: S101 - as _applies says
    made = [peer.create_by_api() for _ in range(before + 1)]
    taken = _timed_ms(partial(peer.start_by_api, made[-1]))
    peer.remove(made)
    return taken


def _exec_by_api_ms(peer: Peer, sleeping: str) -> float:
    assert isinstance(peer, Api)  # noqa: S101 - as _applies says
    return _timed_ms(partial(peer.exec_by_api, sleeping))


def _exec_ms(peer: Peer, sleeping: str) -> float:
    return _timed_ms(lambda: peer.exec(sleeping))


def _freeze_and_thaw_ms(peer: Peer, sleeping: str) -> float:
    def both() -> None:
        peer.freeze(sleeping)
        peer.thaw(sleeping)

    return _timed_ms(both)


_VERBS: dict[str, Callable[[Peer, str], float]] = {
    "run --rm true, whole command": _run_ms,
    "create, start, wait over the socket": _run_by_api_ms,
    "start over the socket": _start_by_api_ms,
    "start over the socket, nothing ready": partial(_start_by_api_ms, before=3),
    "exec true, whole command": _exec_ms,
    "exec true over the socket": _exec_by_api_ms,
    "freeze and thaw, two commands": _freeze_and_thaw_ms,
}


def _applies(verb: str, peer: Peer) -> bool:
    return "over the socket" not in verb or isinstance(peer, Api)


def crowd(peers: list[Peer], tasks: int, rounds: int, notes: list[str]) -> list[Row]:
    """Freeze and thaw a container of many tasks, over the socket: no command line, no fork."""
    samples: dict[str, tuple[list[float], list[float]]] = {}
    crowds: dict[str, str] = {}
    able = [peer for peer in peers if isinstance(peer, Api)]
    try:
        for peer in able:
            try:
                crowds[peer.name] = peer.start_crowd(tasks)
                samples[peer.name] = ([], [])
            except Failure as failure:
                notes.append(f"{peer.name}, {tasks} tasks: {failure}")
        for _ in range(rounds):
            for peer in able:
                if peer.name in crowds:
                    frozen, thawed = samples[peer.name]
                    name = crowds[peer.name]
                    frozen.append(_timed_ms(partial(peer.freeze_by_api, name)))
                    thawed.append(_timed_ms(partial(peer.thaw_by_api, name)))
    finally:
        for peer in able:
            if peer.name in crowds:
                peer.remove([crowds[peer.name]])
    names = (f"freeze of {tasks} tasks, over the socket", f"thaw of {tasks} tasks, over the socket")
    return [
        Row(measure, "ms", peer, tuple(taken[which]))
        for which, measure in enumerate(names)
        for peer, taken in samples.items()
        if taken[which]
    ]


def logs(peers: list[Peer], rounds: int, notes: list[str]) -> list[Row]:
    """From the start of one container, or of ten, until all of its output is in the log.

    What one has written is read, too, by the whole command.
    """
    rows: list[Row] = []
    for containers in (1, _WRITERS):
        taken: dict[str, list[float]] = {p.name: [] for p in peers if isinstance(p, Engine)}
        read: dict[str, list[float]] = {name: [] for name in taken}
        for peer in peers * rounds:
            if isinstance(peer, Engine) and peer.name in taken:
                began = time.perf_counter()
                try:
                    made = peer.write(_LOG_MIB, containers)
                except Failure as failure:
                    del taken[peer.name]
                    notes.append(f"{peer.name}, {containers} writing: {failure}")
                    continue
                taken[peer.name].append((time.perf_counter() - began) * 1e3)
                if containers == 1:
                    read[peer.name].append(_timed_ms(partial(peer.read, made[0])))
                peer.remove(made)
        name = f"{_LOG_MIB} MiB logged by {containers}"
        rows += [Row(name, "ms", peer, tuple(times)) for peer, times in taken.items() if times]
        name = f"logs of {_LOG_MIB} MiB, {_LOG_MIB << 14:,} lines"
        rows += [Row(name, "ms", peer, tuple(times)) for peer, times in read.items() if times]
    return rows


def full_host(peers: list[Peer], containers: int, idle_s: float, notes: list[str]) -> list[Row]:
    """Start many, watch them idle, remove them."""
    rows: list[Row] = []
    for peer in peers:
        if isinstance(peer, Engine):
            try:
                rows += _fill(peer, containers, idle_s)
            except Failure as failure:
                notes.append(f"{peer.name}, {containers} containers: {failure}")
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
