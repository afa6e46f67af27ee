"""The situation over a time that has passed, as far as the sampler and the events have kept it.

A history has no devices, no refaults and no counts of limits; the limits are those of now.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine.explaining.kinship import held
from cgagent.errors import ConflictError
from cgagent.policy.causes import Figures, Group, Machine, Neighbour, Situation, averaged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cgagent.cgroups import Limits
    from cgagent.engine.explaining.kinship import Kinship
    from cgagent.metrics import HostSample

    Kept = Callable[[str, float], Mapping[str, Sequence[float | None]]]
    """The columns of a group by its path, since a time, "at_s" among them."""


def situation(
    kinship: Kinship,
    path: str,
    since_s: float,
    kept: Kept,
    *,
    host: HostSample | None,
    limits: Limits | None = None,
) -> Situation:
    """`limits`: of a container that does not run, whose group is gone.

    Raises:
        ConflictError: nothing is kept of the group since then.
    """
    times = kept(path, since_s)["at_s"]
    if not times:
        raise ConflictError(
            f"cgroup {path}: nothing is kept of it since then; the sampler keeps six hours of "
            "containers, of groups above them, and of those that the setting watch names"
        )
    kin = kinship.of_group(path)
    figures = {one: averaged(kept(one, since_s)) for one in (*kin.chain, *kin.below, *kin.beside)}

    def group(one: str) -> Group:
        known = limits if limits and one == path else held(kinship.host.group(one))
        return kinship.describe(one, figures[one], known)

    return Situation(
        span_s=time.time() - (times[0] or since_s),
        chain=tuple(map(group, kin.chain)),
        below=tuple(group(one) for one in kin.below if figures[one] != Figures()),
        neighbours=tuple(
            Neighbour(group=group(one), beside=member)
            for one, member in kin.beside.items()
            if figures[one] != Figures()
        ),
        machine=_machine(averaged(kept("/", since_s)), host),
    )


def _machine(figures: Figures, host: HostSample | None) -> Machine:
    """CPU time of the root group is the machine's; how it divided over CPUs is not kept."""
    cores = host.cpu_cores if host else 1
    busy = min((figures.cpu_cores or 0.0) / cores, 1.0)
    return Machine(
        cpus=dict.fromkeys(range(cores), busy),
        cores=cores,
        load=host.load[1] if host else None,
        memory_bytes=host.memory_total_bytes if host else None,
        available_bytes=host.memory_available_bytes if host else None,
    )


def with_events(situation: Situation, counts: Mapping[str, int]) -> Situation:
    """With what the kernel announced of the container meanwhile, by the name of the event."""
    own = situation.own
    figures = replace(
        own.figures,
        oom_kills=counts.get("oom"),
        forks_refused=counts.get("pids-refused"),
        high_hits=counts.get("memory-high"),
        max_hits=counts.get("memory-max"),
    )
    return replace(situation, chain=(replace(own, figures=figures), *situation.chain[1:]))
