"""A group's controllers, each on the side (v1 or v2) where this host has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cgagent.cgroups import cpu, cpuset, hugetlb, io, memory, pids, pressure
from cgagent.cgroups.freezer import is_event_set
from cgagent.cgroups.limits import Limits
from cgagent.cgroups.usage import Cpu, DeviceIo, Memory, Pids, Usage
from cgagent.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups.changes import Write
    from cgagent.cgroups.controller import Limiter, Meter
    from cgagent.cgroups.files import Read
    from cgagent.cgroups.hierarchy import Host

_FIELDS: Final = {
    "cpu": cpu.FIELDS,
    "cpuset": cpuset.FIELDS,
    "memory": memory.FIELDS,
    "io": io.FIELDS,
    "pids": pids.FIELDS,
    "hugetlb": hugetlb.FIELDS,
}

V1 = TypeVar("V1")
V2 = TypeVar("V2")


@dataclass(frozen=True, slots=True)
class Controllers:
    """None where the host has no such controller and no cgroup2 either."""

    cpu: cpu.CpuV1 | cpu.CpuV2 | None
    cpuset: cpuset.CpusetV1 | cpuset.CpusetV2 | None
    memory: memory.MemoryV1 | memory.MemoryV2 | None
    io: io.IoV1 | io.IoV2 | None
    pids: pids.PidsController | None
    hugetlb: hugetlb.HugetlbV1 | hugetlb.HugetlbV2 | None
    unified: str | None
    """The group's cgroup2 directory."""
    freezer: str | None
    """The group's directory in the v1 freezer hierarchy."""

    @classmethod
    def of(cls, host: Host, path: str) -> Controllers:
        inside = path.rstrip("/")
        v1 = {name: p.mount + inside for name, p in host.placements.items() if p.version == 1}
        unified = host.unified.mount + inside if host.unified else None

        def side(name: str, old: Callable[[str], V1], new: Callable[[str], V2]) -> V1 | V2 | None:
            if name in v1:
                return old(v1[name])
            return new(unified) if unified else None

        def cpu_v1(directory: str) -> cpu.CpuV1:
            return cpu.CpuV1(directory, v1.get("cpuacct", directory))

        return cls(
            cpu=side("cpu", cpu_v1, cpu.CpuV2),
            cpuset=side("cpuset", cpuset.CpusetV1, cpuset.CpusetV2),
            memory=side("memory", memory.MemoryV1, memory.MemoryV2),
            io=side("io", io.IoV1, io.IoV2),
            pids=side("pids", pids.PidsController, pids.PidsController),
            hugetlb=side("hugetlb", hugetlb.HugetlbV1, hugetlb.HugetlbV2),
            unified=unified,
            freezer=v1.get("freezer"),
        )

    def _limiters(self) -> dict[str, Limiter | None]:
        return {
            "cpu": self.cpu,
            "cpuset": self.cpuset,
            "memory": self.memory,
            "io": self.io,
            "pids": self.pids,
            "hugetlb": self.hugetlb,
        }

    def writes(self, limits: Limits) -> list[Write]:
        """All writes for these limits.

        Raises:
            UnsupportedError: the host has no controller for one of them.
        """
        asked = dict(limits)
        writes: list[Write] = []
        for name, limiter in self._limiters().items():
            limit = next((limit for limit in asked if limit in _FIELDS[name]), None)
            if limit and not limiter:
                raise UnsupportedError(f"limit {limit}: this host has no {name} cgroup controller")
            if limit and limiter:
                writes += limiter.writes(limits)
        return writes

    def held(self) -> Limits:
        values: dict[str, object] = {}
        for limiter in self._limiters().values():
            values.update(limiter.held() if limiter else ())
        return Limits(**values)  # type: ignore[arg-type]

    def usage(self, read: Read) -> Usage:
        return Usage(
            cpu=_used(self.cpu, read) or Cpu(),
            memory=_used(self.memory, read) or Memory(),
            io=_io(self.io, read),
            pids=_used(self.pids, read) or Pids(),
            pressure=pressure.usage(self.unified, read) if self.unified else pressure.NONE,
            frozen=self._frozen(read),
        )

    def _frozen(self, read: Read) -> bool | None:
        """Held by either freezer, the group's own or one above it."""
        states = []
        if self.unified and (events := read(f"{self.unified}/cgroup.events")) is not None:
            states.append(is_event_set(events, "frozen"))
        if self.freezer and (state := read(f"{self.freezer}/freezer.state")) is not None:
            states.append(state.strip() == "FROZEN")
        return any(states) if states else None


Record = TypeVar("Record")


def _used(meter: Meter[Record] | None, read: Read) -> Record | None:
    return meter.usage(read) if meter else None


def _io(
    meter: Meter[tuple[DeviceIo, ...] | None] | None, read: Read
) -> tuple[DeviceIo, ...] | None:
    return meter.usage(read) if meter else None
