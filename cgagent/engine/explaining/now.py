"""The situation over a short window: two readings of the kernel's files, and nothing kept.

Runs in a thread but for the time between the two. A window costs two readings of the group, of
those above it, below it and beside it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits
from cgagent.engine.explaining.kinship import held
from cgagent.errors import CgagentError, NotFoundError
from cgagent.kernel import procfs
from cgagent.metrics import hostload
from cgagent.policy.causes import Figures, Neighbour, Situation, between, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cgagent.cgroups import Group, Usage
    from cgagent.engine.explaining.kinship import Kin, Kinship
    from cgagent.metrics import HostLoad
    from cgagent.policy.causes import Machine

_OF_NEIGHBOURS: Final = frozenset({"cpu", "memory", "io"})
_BUSY_CORES: Final = 0.05
"""Of a neighbour that takes less the limits are not asked for."""
_MOST_TASKS: Final = 512


@dataclass(frozen=True, slots=True)
class _Reading:
    at_ns: int
    usage: Usage
    run_delay_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _Readings:
    groups: Mapping[str, _Reading]
    load: HostLoad


async def situation(
    kinship: Kinship,
    path: str,
    window_s: float,
    cores_lately: Callable[[str], float | None],
) -> Situation:
    """`cores_lately`: what a group took over the last minutes, by its path.

    Raises:
        NotFoundError: the group is gone, or went meanwhile.
    """
    kin = await asyncio.to_thread(kinship.of_group, path)
    before = await asyncio.to_thread(_read, kinship, kin)
    await asyncio.sleep(window_s)
    after = await asyncio.to_thread(_read, kinship, kin)
    return await asyncio.to_thread(_situation, kinship, kin, (before, after), cores_lately)


def _read(kinship: Kinship, kin: Kin) -> _Readings:
    """In the same order at the beginning and at the end: so the time between is the same."""
    groups: dict[str, _Reading] = {}
    load = hostload.read()
    for path in (*kin.beside, *kin.below):
        try:
            controllers = kinship.host.group(path).controllers(deep=False)
            usage = controllers.usage(_OF_NEIGHBOURS if path in kin.beside else None)
        except CgagentError:  # it has gone
            continue
        groups[path] = _Reading(time.monotonic_ns(), usage)
    chain = kin.chain
    for path in chain:
        group = kinship.host.group(path)
        usage = group.usage() if path == chain[0] else group.controllers(deep=False).usage()
        delay_ns = None
        if path == chain[0] and usage.pressure.cpu is None and path != "/":
            delay_ns = _run_delay_ns(group)
        groups[path] = _Reading(time.monotonic_ns(), usage, delay_ns)
    return _Readings(groups, load)


def _run_delay_ns(group: Group) -> int:
    """How long its tasks have waited for a CPU in all; of the first so many tasks."""
    tasks = [task for pid in group.pids()[:_MOST_TASKS] for task in procfs.tasks(pid)]
    return sum(procfs.run_delay_ns(task) for task in tasks[:_MOST_TASKS])


def _situation(
    kinship: Kinship,
    kin: Kin,
    readings: tuple[_Readings, _Readings],
    cores_lately: Callable[[str], float | None],
) -> Situation:
    before, after = readings
    chain = kin.chain
    host = machine(before.load, after.load)
    figures = {path: _figures(path, before, after) for path in after.groups}
    if chain == ["/"]:
        figures["/"] = _of_host(figures["/"], host)
    first, last = before.groups[chain[0]], after.groups[chain[0]]
    return Situation(
        span_s=(last.at_ns - first.at_ns) / 1e9,
        chain=tuple(
            kinship.describe(path, figures[path], held(group), is_frozen=_asked_to_freeze(group))
            for path in chain
            for group in [kinship.host.group(path)]
        ),
        below=tuple(
            kinship.describe(path, figures[path], held(kinship.host.group(path)))
            for path in kin.below
            if path in figures
        ),
        neighbours=tuple(
            _neighbour(kinship, path, figures[path], member, cores_lately)
            for path, member in kin.beside.items()
            if path in figures
        ),
        machine=host,
    )


def _figures(path: str, before: _Readings, after: _Readings) -> Figures:
    first, last = before.groups.get(path), after.groups[path]
    if first is None:  # it came meanwhile
        return Figures()
    span_ns = max(last.at_ns - first.at_ns, 1)
    delay = None
    if first.run_delay_ns is not None and last.run_delay_ns is not None:
        delay = max(last.run_delay_ns - first.run_delay_ns, 0) / span_ns
    return between(first.usage, last.usage, span_ns / 1e9, delay)


def _of_host(figures: Figures, host: Machine) -> Figures:
    """The root group's pressure is that of the machine."""
    return replace(
        figures, cpu_some=host.cpu_some, memory_some=host.memory_some, io_some=host.io_some
    )


def _neighbour(
    kinship: Kinship,
    path: str,
    figures: Figures,
    member: str,
    cores_lately: Callable[[str], float | None],
) -> Neighbour:
    is_busy = (figures.cpu_cores or 0.0) >= _BUSY_CORES
    limits = held(kinship.host.group(path)) if is_busy else Limits()
    return Neighbour(
        group=kinship.describe(path, figures, limits),
        beside=member,
        cores_lately=cores_lately(path) if is_busy else None,
    )


def _asked_to_freeze(group: Group) -> bool:
    try:
        return group.freezer_state() != "thawed" and group.frozen_by() == "self"
    except NotFoundError:
        raise
    except CgagentError:  # the root group has no freezer
        return False
