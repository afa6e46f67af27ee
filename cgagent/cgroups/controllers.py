"""A group's controllers, each on the side (v1 or v2) where this host has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cgagent.cgroups import cpu, cpuset, files, hugetlb, io, memory, net_prio, pids, pressure
from cgagent.cgroups.core import CoreMeter
from cgagent.cgroups.limits import RATES, Limits
from cgagent.cgroups.pressure import PressureMeter
from cgagent.cgroups.resources import AmountsMeter, RdmaMeter
from cgagent.cgroups.usage import Cpu, Memory, Pids, Usage
from cgagent.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from cgagent.cgroups.changes import Write
    from cgagent.cgroups.controller import Limiter, Meter
    from cgagent.cgroups.core import Core
    from cgagent.cgroups.hierarchy import Layout

_FIELDS: Final = {
    "cpu": cpu.FIELDS,
    "cpuset": cpuset.FIELDS,
    "memory": memory.FIELDS,
    "io": io.FIELDS,
    "pids": pids.FIELDS,
    "hugetlb": hugetlb.FIELDS,
    "net_prio": net_prio.FIELDS,
}

_OTHERS: Final = frozenset({"rdma", "misc", "dmem"})
_NO_CPU: Final = Cpu()
_NO_MEMORY: Final = Memory()
_NO_PIDS: Final = Pids()

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
    net_prio: net_prio.NetPrioV1 | None
    unified: str | None
    """The group's cgroup2 directory."""
    freezer: str | None
    """The group's directory in the v1 freezer hierarchy."""
    others: Mapping[str, str]
    """The group's directory by controller, for those that are only read."""

    @classmethod
    def of(cls, host: Layout, path: str, *, deep: bool = True) -> Controllers:
        """Without `deep` no file of a group below it is read: what is summed there is None."""
        inside = path.rstrip("/")
        v1 = {name: p.mount + inside for name, p in host.placements.items() if p.version == 1}
        unified = host.unified.mount + inside if host.unified else None

        def side(name: str, old: Callable[[str], V1], new: Callable[[str], V2]) -> V1 | V2 | None:
            if name in v1:
                return old(v1[name])
            return new(unified) if unified else None

        def cpu_v1(directory: str) -> cpu.CpuV1:
            return cpu.CpuV1(directory, v1.get("cpuacct", directory), unified)

        def memory_v1(directory: str) -> memory.MemoryV1:
            return memory.MemoryV1(directory, deep=deep)

        def pids_of(directory: str) -> pids.PidsController:
            return pids.PidsController(directory, deep=deep)

        return cls(
            cpu=side("cpu", cpu_v1, cpu.CpuV2),
            cpuset=side("cpuset", cpuset.CpusetV1, cpuset.CpusetV2),
            memory=side("memory", memory_v1, memory.MemoryV2),
            io=side("io", io.IoV1, io.IoV2),
            pids=side("pids", pids_of, pids_of),
            hugetlb=side("hugetlb", hugetlb.HugetlbV1, hugetlb.HugetlbV2),
            net_prio=net_prio.NetPrioV1(v1["net_prio"]) if "net_prio" in v1 else None,
            unified=unified,
            freezer=v1.get("freezer"),
            others={n: p.mount + inside for n, p in host.placements.items() if n in _OTHERS},
        )

    def _limiters(self) -> dict[str, Limiter | None]:
        """In the order in which limits are written: cpuset last, which v2 may not take back."""
        return {
            "cpu": self.cpu,
            "memory": self.memory,
            "io": self.io,
            "pids": self.pids,
            "hugetlb": self.hugetlb,
            "net_prio": self.net_prio,
            "cpuset": self.cpuset,
        }

    def writes(self, limits: Limits) -> list[Write]:
        """All writes for these limits.

        Raises:
            UnsupportedError: the host has no controller for one of them, or none can have it.
        """
        asked = dict(limits)
        for name in RATES & asked.keys():
            raise UnsupportedError(
                f"limit {name}: no cgroup has it; it is one of containers in networks of the agent"
            )
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

    def meters(self) -> dict[str, Meter[object]]:
        """By the field of Usage that each fills; "core" fills several."""
        meters: dict[str, Meter[object] | None] = {
            "cpu": self.cpu,
            "memory": self.memory,
            "io": self.io,
            "pids": self.pids,
            "hugetlb": self.hugetlb,
            "pressure": PressureMeter(self.unified) if self.unified else None,
            "core": CoreMeter(self.unified, self.freezer),
            **{name: meter(path) for name, (meter, path) in self._read_only().items()},
        }
        return {name: meter for name, meter in meters.items() if meter}

    def _read_only(self) -> dict[str, tuple[Callable[[str], Meter[object]], str]]:
        kinds: dict[str, tuple[Callable[[str], Meter[object]], str, str]] = {
            "rdma": (RdmaMeter, "rdma", ""),
            "misc": (AmountsMeter, "misc", "/misc.current"),
            "dmem_bytes": (AmountsMeter, "dmem", "/dmem.current"),
        }
        return {
            field: (meter, self.others[controller] + file)
            for field, (meter, controller, file) in kinds.items()
            if controller in self.others
        }

    def trees(self) -> list[str]:
        """The directories below which files are read too."""
        meters = (self.memory, self.pids)
        return list(dict.fromkeys(m.directory for m in meters if m))

    def usage(self, only: Container[str] | None = None) -> Usage:
        """Read once, each file opened and closed; `only` the meters of these names."""
        records = {
            name: meter.usage([files.read(path) for path in meter.paths()])
            for name, meter in self.meters().items()
            if only is None or name in only or name == "core"
        }
        return assemble(records)


def assemble(records: Mapping[str, Any]) -> Usage:
    """The records of `Controllers.meters`, by the same names, as one."""
    core: Core = records["core"]
    get = records.get
    return Usage(
        cpu=get("cpu") or _NO_CPU,
        memory=get("memory") or _NO_MEMORY,
        io=get("io"),
        pids=get("pids") or _NO_PIDS,
        pressure=get("pressure") or pressure.NONE,
        frozen=core.frozen,
        frozen_ns=core.frozen_ns,
        hugetlb=get("hugetlb"),
        rdma=get("rdma"),
        misc=get("misc"),
        dmem_bytes=get("dmem_bytes"),
        descendants=core.descendants,
    )
