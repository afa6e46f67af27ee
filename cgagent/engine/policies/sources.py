"""Where the facts of decisions are from: the last samples, and files of the host's own."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Pressure
from cgagent.cgroups import pressure as psi
from cgagent.engine.policies.targets import sampled_id
from cgagent.policy.facts import Facts, HostFacts, Trend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.cgroups import Host, Limits, Usage
    from cgagent.engine.observe.policies import Tick
    from cgagent.metrics import Rates, Sample
    from cgagent.policy.rulesets.model import Need, Target

    Seen = tuple[Usage, Rates | None, Limits, bool]

_PRESSURE: Final = "/proc/pressure"
_ONLINE: Final = "/sys/devices/system/cpu/online"
_DISKSTATS: Final = "/proc/diskstats"
_NO_TREND: Final = Trend()
_NO_BUDGETS: Final[Mapping[str, float]] = {}
_LEFT_OUT: Final = ("loop", "ram", "zram", "dm-", "md")
"""Devices on top of others, and those that are memory."""


class Sources:
    """Of one round of sampling after the other."""

    def __init__(self, host: Host) -> None:
        self._cgroups = host
        self._trends: dict[str, Trend] = {}
        self._disks: dict[str, tuple[int, int]] = {}
        self._tick: Tick | None = None
        self._host = HostFacts()
        self.needs: frozenset[Need] = frozenset()
        """The facts beyond the last sample that some ruleset reads."""
        self.budgets: Callable[[str], Mapping[str, float]] = lambda _id: {}
        """Percent of its budgets that a target with this id has used."""
        self.at_s = 0.0
        """Of the monotonic clock, when the round ended."""

    def next(self, tick: Tick) -> None:
        self._tick = tick
        self.at_s = time.monotonic()
        self._host = self._host_facts(tick)

    def _host_facts(self, tick: Tick) -> HostFacts:
        machine, now = tick.machine, time.localtime()
        return HostFacts(
            memory_total_bytes=machine.memory_total_bytes if machine else 0,
            memory_available_bytes=machine.memory_available_bytes if machine else 0,
            swap_total_bytes=machine.swap_total_bytes if machine else 0,
            swap_free_bytes=machine.swap_free_bytes if machine else 0,
            cpus=machine.cpu_cores if machine else 1,
            cpu_list=_read(_ONLINE) or "0" if "cpu_list" in self.needs else "",
            io_latency_ms=self._latency(),
            minute_of_day=now.tm_hour * 60 + now.tm_min,
            weekday=now.tm_wday,
        )

    def learn(self, target: Target) -> None:
        """From its last sample, what a single one does not say."""
        if "trend" not in self.needs:
            return
        id_ = sampled_id(target)
        sample = self._tick.latest(id_) if self._tick else None
        if sample is None:
            return
        trend = self._trends.get(id_)
        if trend is None:
            trend = self._trends[id_] = Trend()
        trend.add(sample, sample.monotonic_ns / 1e9)

    def of(self, target: Target) -> Facts | None:
        """None: it has not been sampled, or is not any more."""
        tick = self._tick
        is_host = target.kind == "host"
        id_ = sampled_id(target)
        sample = tick.latest(id_) if tick else None
        if sample is None and not is_host:
            return None
        return Facts(
            at_s=self.at_s,
            host=self._with_pressure() if is_host else self._host,
            usage=self._usage(sample) if sample else None,
            rates=tick.rates(id_) if tick else None,
            limits=sample.limits if sample else None,
            has_network=sample is not None and sample.network is not None,
            trend=self._trends.get(id_, _NO_TREND),
            is_host=is_host,
            budgets=self.budgets(id_) if "budgets" in self.needs else _NO_BUDGETS,
        )

    def seen(self, target: Target) -> Seen | None:
        """What the facts of it are made of, as far as they are its own.

        While that is the same objects, figures that follow the sample are the same. None: it is to
        be looked at anew each time.
        """
        id_ = sampled_id(target)
        sample = self._tick.latest(id_) if self._tick else None
        is_host = target.kind == "host"  # also where the root cgroup is sampled
        if self._tick is None or sample is None or sample.target.is_above or is_host:
            return None
        return sample.usage, self._tick.rates(id_), sample.limits, sample.network is None

    def _with_pressure(self) -> HostFacts:
        """The host as what is looked at, with its pressure of now."""
        return replace(self._host, pressure=_pressure(_PRESSURE))

    def is_above(self, target: Target) -> bool:
        """Whether it has groups of containers below it: it is sampled every few seconds only."""
        sample = self._tick.latest(sampled_id(target)) if self._tick else None
        return sample is not None and sample.target.is_above

    def _usage(self, sample: Sample) -> Usage:
        """Of what is above others with its pressure of now: the kernel has that summed up."""
        if not sample.target.is_above:
            return sample.usage
        directory = self._cgroups.group(sample.target.cgroup_path).unified_dir()
        now = _pressure(directory, "{}/{}.pressure") if directory else Pressure()
        return replace(sample.usage, pressure=now)

    def forget_all_but(self, there: Iterable[str]) -> None:
        """What is remembered of targets that are not sampled any more."""
        kept = set(there)
        for id_ in self._trends.keys() - kept:
            del self._trends[id_]

    def _latency(self) -> float | None:
        """How long an operation of the last round took on the device where it took longest."""
        found = _disks() if "io_latency" in self.needs else {}
        slowest = [
            (spent - before[1]) / (done - before[0])
            for name, (done, spent) in found.items()
            if (before := self._disks.get(name)) is not None and done > before[0]
        ]
        self._disks = found
        return max(slowest, default=0.0) if found else None


def _pressure(directory: str, form: str = "{}/{}") -> Pressure:
    paths = (form.format(directory, name) for name in ("cpu", "memory", "io"))
    cpu, memory, io = (psi.parse(_read(path)) for path in paths)
    return Pressure(cpu=cpu, memory=memory, io=io)


def _disks() -> dict[str, tuple[int, int]]:
    """Operations that are done, and the milliseconds spent on them, by device."""
    found = {}
    for line in (_read(_DISKSTATS) or "").split("\n"):
        words = line.split()
        if len(words) > 10 and not words[2].startswith(_LEFT_OUT):  # noqa: PLR2004 - its form
            reads, read_ms, writes, write_ms = (int(words[n]) for n in (3, 6, 7, 10))
            found[words[2]] = reads + writes, read_ms + write_ms
    return found


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:  # no PSI, or it is switched off
        return None
