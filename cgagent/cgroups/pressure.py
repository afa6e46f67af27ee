"""Pressure stall information, from cgroup2 on any host that mounts it (Linux 4.20).

v1 has none, but on a hybrid host the cgroup2 group of the same path has: PSI belongs to
cgroup2's core, not to a controller. Without `psi=1` on some kernels the files refuse reading
(EOPNOTSUPP) and everything here is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.cgroups.usage import Pressure, Psi, Stall

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE: Final = Pressure()

_NO_STALL: Final = " avg10=0.00 avg60=0.00 avg300=0.00 total=0"
_NONE: Final = Stall(avg10=0.0, avg60=0.0, avg300=0.0, total_ns=0)
_RESOURCES: Final = ("cpu", "memory", "io", "irq")


class PressureMeter:
    def __init__(self, directory: str) -> None:
        self._dir = directory

    def paths(self) -> Sequence[str]:
        return tuple(f"{self._dir}/{resource}.pressure" for resource in _RESOURCES)

    def usage(self, texts: Sequence[str | None]) -> Pressure:
        cpu, memory, io, irq = texts
        return Pressure(cpu=parse(cpu), memory=parse(memory), io=parse(io), irq=parse_irq(irq))


def parse(text: str | None) -> Psi | None:
    """A *.pressure file; `full` is missing for cpu before Linux 5.13."""
    if not text:
        return None
    some, _, full = text.partition("\n")
    return Psi(some=_stall(some), full=_stall(full) if full else None)


def parse_irq(text: str | None) -> Stall | None:
    """irq.pressure has `full` alone: what keeps one task from running keeps all."""
    return _stall(text) if text else None


def _stall(line: str) -> Stall:
    """A line such as "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"."""
    if line.rstrip().endswith(_NO_STALL):  # most lines of most groups
        return _NONE
    _, avg10, avg60, avg300, total = line.split()
    return Stall(
        avg10=float(avg10[6:]),
        avg60=float(avg60[6:]),
        avg300=float(avg300[7:]),
        total_ns=int(total[6:]) * 1000,
    )
