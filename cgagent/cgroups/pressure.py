"""Pressure stall information, from cgroup2 on any host that mounts it (Linux 4.20).

v1 has none, but on a hybrid host the cgroup2 group of the same path has: PSI belongs to
cgroup2's core, not to a controller. Without `psi=1` on some kernels the files refuse reading
(EOPNOTSUPP) and everything here is None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cgagent.cgroups.usage import Pressure, Psi, Stall

if TYPE_CHECKING:
    from cgagent.cgroups.files import Read

NONE: Final = Pressure()

_LINE: Final = re.compile(r"(\w+) avg10=(\S+) avg60=(\S+) avg300=(\S+) total=(\d+)")


def usage(directory: str, read: Read) -> Pressure:
    return Pressure(
        cpu=parse(read(f"{directory}/cpu.pressure")),
        memory=parse(read(f"{directory}/memory.pressure")),
        io=parse(read(f"{directory}/io.pressure")),
    )


def parse(text: str | None) -> Psi | None:
    """A *.pressure file; `full` is missing for cpu before Linux 5.13."""
    stalls = {
        kind: Stall(
            avg10=float(avg10), avg60=float(avg60), avg300=float(avg300), total_ns=int(total) * 1000
        )
        for kind, avg10, avg60, avg300, total in _LINE.findall(text or "")
    }
    return Psi(some=stalls["some"], full=stalls.get("full")) if "some" in stalls else None
