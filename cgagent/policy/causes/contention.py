"""Who has the CPUs that tasks wait for: a pinned set, a weight, a neighbour, the host itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.cgroups import UNLIMITED, convert
from cgagent.policy.causes import commands
from cgagent.policy.causes.neighbours import cores_of, largest
from cgagent.policy.causes.values import Cause, Evidence
from cgagent.policy.causes.waiting import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.policy.causes.figures import Group, Machine, Neighbour, Situation

_FILLED: Final = 0.6
"""Of the CPUs that it may have: more threads than CPUs, rather than others."""
_IDLE_CORES: Final = 0.25
"""Of CPUs that a pinned group may not have: it could run there at once."""
_MOST: Final = 0.5
"""Of what all others take: one neighbour is to blame."""
_LEAST_CORES: Final = 0.1
_BUSY_CORES: Final = 0.02
_LISTED: Final = 3
_DEFAULT_WEIGHT: Final = 100
_WEIGHT_OF_IDLE: Final = 1
"""A group with cpu.idle runs when nothing else wants to."""


def cause(situation: Situation, share: float) -> Cause:
    machine, used = situation.machine, situation.own.figures.cpu_cores or 0.0
    allowed, holder = _cpuset(situation)
    fills = used >= _FILLED * len(allowed)
    if holder is not None:
        outside = [1 - busy for cpu, busy in machine.cpus.items() if cpu not in allowed]
        if fills or sum(outside) >= _IDLE_CORES:
            return _of_cpuset(situation, holder, allowed, share)
    if fills:
        return _of_own_demand(situation, share)
    others = max(sum(machine.cpus.get(cpu, 0.0) for cpu in allowed) - used, 0.0)
    first = next(iter(largest(situation.neighbours, cores_of)), None)
    taken = cores_of(first) if first else 0.0
    if first is None or taken < max(_MOST * others, _LEAST_CORES):
        return _of_host(situation, share)
    member = next((g for g in situation.chain if g.path == first.beside), situation.own)
    beside = _top_of(situation, first)
    if _weight(member) * 2 <= _weight(beside):
        return _of_weight(situation, member, beside, share)
    return _of_neighbour(situation, first, share)


def _top_of(situation: Situation, neighbour: Neighbour) -> Group:
    """The group it is in, right below the parent that it shares with the one in question."""
    parent = neighbour.beside.rpartition("/")[0]
    name = neighbour.group.path.removeprefix(f"{parent}/").partition("/")[0]
    path = f"{parent}/{name}"
    same = (n.group for n in situation.neighbours if n.group.path == path)
    return next(same, neighbour.group)


def _weight(group: Group) -> int:
    if group.limits.cpu_idle:
        return _WEIGHT_OF_IDLE
    return group.limits.weight or _DEFAULT_WEIGHT


def _cpuset(situation: Situation) -> tuple[list[int], Group | None]:
    """The CPUs that it may have, and the group by which these are less than all."""
    allowed, holder = set(situation.machine.cpus), None
    for group in reversed(situation.chain):
        own = convert.numbers_in_list(group.limits.cpuset_cpus or "")
        if own and not allowed <= own:
            allowed, holder = allowed & own, group
    return sorted(allowed), holder


def _of_cpuset(situation: Situation, group: Group, allowed: list[int], share: float) -> Cause:
    cpus = situation.machine.cpus
    inside = sum(cpus[cpu] for cpu in allowed)
    outside = sum(1 - busy for cpu, busy in cpus.items() if cpu not in allowed)
    who = "it" if group is situation.own else f"the {group.called} above it"
    everything = f"0-{max(cpus)}" if len(cpus) > 1 else "0"
    return Cause(
        kind="cpuset",
        group=group.path,
        container=group.container,
        share=share,
        says=f"{who} is pinned to {len(allowed)} of {len(cpus)} CPUs, and these are busy",
        evidence=(
            Evidence(
                what="may run on CPUs",
                value=group.limits.cpuset_cpus or "",
                file=group.file("cpuset.cpus.effective"),
            ),
            Evidence(what="of these busy", value=round(inside, 2), unit="CPUs", file="/proc/stat"),
            Evidence(what="others idle", value=round(outside, 2), unit="CPUs", file="/proc/stat"),
            *waiting(situation),
        ),
        commands=(commands.change(group, "--cpuset-cpus", everything),),
    )


def _of_own_demand(situation: Situation, share: float) -> Cause:
    count = situation.machine.cores
    return Cause(
        kind="cpu-own",
        group=situation.own.path,
        container=situation.own.container,
        share=share,
        says=f"its own tasks want more than the {count} CPUs that the host has",
        evidence=(*waiting(situation), *_run_queue(situation.machine)),
    )


def _run_queue(machine: Machine) -> Iterator[Evidence]:
    if machine.cpu_some is not None:
        yield Evidence(
            what="of the time some task of the host waited",
            value=round(100 * machine.cpu_some, 1),
            unit="%",
            file="/proc/pressure/cpu",
        )
    if machine.running is not None:
        yield Evidence(
            what="tasks that want to run", value=machine.running, file="/proc/stat: procs_running"
        )
    if machine.load is not None:
        yield Evidence(what="load", value=round(machine.load, 2), file="/proc/loadavg")
    busy = round(sum(machine.cpus.values()), 2)
    yield Evidence(what=f"of {machine.cores} CPUs busy", value=busy, file="/proc/stat")
    if machine.steal >= _BUSY_CORES:
        yield Evidence(
            what="taken by the hypervisor",
            value=round(machine.steal, 2),
            unit="CPUs",
            file="/proc/stat: steal",
        )


def _taken(neighbour: Neighbour) -> Iterator[Evidence]:
    group = neighbour.group
    yield Evidence(
        what=f"{group.called} took",
        value=round(cores_of(neighbour), 3),
        unit="CPUs",
        file=group.file("cpu.stat"),
    )
    if neighbour.cores_lately is not None:
        yield Evidence(
            what=f"{group.called} took in the last minutes",
            value=round(neighbour.cores_lately, 3),
            unit="CPUs",
        )


def _of_host(situation: Situation, share: float) -> Cause:
    tops = largest(situation.neighbours, cores_of, _LISTED)
    listed = [n for n in tops if cores_of(n) >= _BUSY_CORES]
    own = situation.own
    return Cause(
        kind="cpu-host",
        group="/",
        container=None,
        share=share,
        says="the host is out of CPU, and no single neighbour takes most of it",
        evidence=(
            *waiting(situation),
            *_run_queue(situation.machine),
            *(evidence for neighbour in listed for evidence in _taken(neighbour)),
            *_outside(situation),
        ),
        commands=(commands.change(own, "--cpu-weight", str(_more_weight(own))),),
    )


def _outside(situation: Situation) -> Iterator[Evidence]:
    """What processes took that are in none of the groups that were read."""
    tops = [n.group for n in situation.neighbours if n.group.path.count("/") == 1]
    known = sum(group.figures.cpu_cores or 0.0 for group in (*tops, situation.chain[-1]))
    rest = sum(situation.machine.cpus.values()) - known
    if rest >= _LEAST_CORES:
        value = round(rest, 2)
        yield Evidence(what="processes in no other group took", value=value, unit="CPUs")


def _more_weight(group: Group) -> int:
    return min(max(4 * _weight(group), _DEFAULT_WEIGHT), 10_000)


def _of_weight(situation: Situation, member: Group, beside: Group, share: float) -> Cause:
    kind = "cpu.idle" if member.limits.cpu_idle else "CPU weight"
    value = "1" if member.limits.cpu_idle else f"of {_weight(member)}"
    neighbour = next((n for n in situation.neighbours if n.group is beside), None)
    flags = ("--no-cpu-idle",) if member.limits.cpu_idle else ()
    return Cause(
        kind="cpu-weight",
        group=member.path,
        container=member.container,
        share=share,
        says=f"{situation.whose(member)} {kind} {value} is little beside the {_weight(beside)} of "
        f"{beside.called}",
        evidence=(
            Evidence(what="weight", value=_weight(member), file=member.file("cpu.weight")),
            Evidence(
                what=f"weight of {beside.called}",
                value=_weight(beside),
                file=beside.file("cpu.weight"),
            ),
            *(_taken(neighbour) if neighbour else ()),
            *waiting(situation),
        ),
        commands=(
            commands.change(member, *flags, "--cpu-weight", str(_weight(beside))),
            commands.change(beside, "--cpu-weight", str(_weight(member))),
        ),
    )


def _of_neighbour(situation: Situation, first: Neighbour, share: float) -> Cause:
    group, own = first.group, situation.own
    fewer = commands.cpus(cores_of(first) / 2, situation.machine.cores)
    count = situation.machine.cores
    freely = ", without a quota" if group.limits.cpu_quota_us in {None, UNLIMITED} else ""
    return Cause(
        kind="cpu-neighbour",
        group=group.path,
        container=group.container,
        share=share,
        says=f"{group.called} takes {cores_of(first):.2g} of the host's {count} CPUs{freely}",
        evidence=(*_taken(first), *waiting(situation), *_run_queue(situation.machine)),
        commands=(
            commands.change(group, "--cpus", fewer),
            commands.change(own, "--cpu-weight", str(_more_weight(own))),
        ),
    )
