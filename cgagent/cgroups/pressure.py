"""Pressure stall information, from cgroup2 on any host that mounts it (Linux 4.20).

v1 has none, but on a hybrid host the cgroup2 group of the same path has: PSI belongs to
cgroup2's core, not to a controller. Without `psi=1` on some kernels the files refuse reading
(EOPNOTSUPP) and everything here is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.cgroups.usage import Pressure, Psi, Stall

if TYPE_CHECKING:
    from cgagent.cgroups.files import Read

NONE: Final = Pressure()


def usage(directory: str, read: Read) -> Pressure:
    return Pressure(
        cpu=parse(read(f"{directory}/cpu.pressure")),
        memory=parse(read(f"{directory}/memory.pressure")),
        io=parse(read(f"{directory}/io.pressure")),
    )


def parse(text: str | None) -> Psi | None:
    """A *.pressure file; `full` is missing for cpu before Linux 5.13."""
    lines = {line.split(" ", 1)[0]: line for line in (text or "").splitlines()}
    if "some" not in lines:
        return None
    full = lines.get("full")
    return Psi(some=_stall(lines["some"]), full=_stall(full) if full else None)


def _stall(line: str) -> Stall:
    avg10, avg60, avg300, total_us = (pair.split("=", 1)[1] for pair in line.split()[1:5])
    return Stall(
        avg10=float(avg10),
        avg60=float(avg60),
        avg300=float(avg300),
        total_ns=int(total_us) * 1000,
    )
