"""What makes tasks wait for memory: a limit of the group or above it, swap, the host.

Reaching a limit costs nothing while what is reclaimed is not needed again: so a limit is a cause
only as far as tasks stalled for memory (memory.pressure). Where most of what is read from disks is
what reclaim had taken, waiting for disks is waiting for memory as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.policy.causes import commands
from cgagent.policy.causes.neighbours import largest, memory_of
from cgagent.policy.causes.values import LEAST_SHARE, Cause, Evidence
from cgagent.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.policy.causes.figures import Group, Situation
    from cgagent.policy.causes.values import Kind

_PAGE: Final = 4096
_AT_LIMIT: Final = 0.98
_SCARCE: Final = 0.1
"""Of the host's memory: less is available, and all are reclaimed from."""
_MOST: Final = 0.4
"""Of the memory of the group or the host that has too little."""
_AGAIN: Final = 0.5
"""Of what is read: so much had been in memory before."""
_SWAPPED_PAGES: Final = 50
"""A second: fewer are no thrashing."""


def causes(situation: Situation) -> Iterator[Cause]:
    found = _limit(situation)
    stalled = _stalled(situation, found)
    if stalled is not None and stalled < LEAST_SHARE:
        return
    if stalled is None and (found is None or not _is_hit(found)):
        return  # v1 without pressure: only a limit that was hit says something
    if _is_swapping(situation):
        yield _of_swap(situation, found, stalled)
    elif found is not None:
        yield _of_limit(situation, found, stalled)
    else:
        yield _of_host(situation, stalled)


def _stalled(situation: Situation, limit: Group | None) -> float | None:
    figures, span_s = situation.own.figures, situation.span_s
    stalled, waited = figures.memory_some, figures.io_some
    if stalled is None or waited is None or limit is None:
        return stalled
    again = ((figures.refault_file or 0) + (figures.refault_anon or 0)) * _PAGE / span_s
    read = sum(use.read_bytes for use in figures.io.values())
    is_thrashing = again >= max(_AGAIN * read, _SWAPPED_PAGES * _PAGE)
    return max(stalled, waited) if is_thrashing else stalled


def _is_hit(group: Group) -> bool:
    return bool(group.figures.high_hits or group.figures.max_hits)


def _limit(situation: Situation) -> Group | None:
    """The group at whose limit reclaim works, one above or below it as well.

    Where several are at theirs it is the one that was there most often.

    The kernel does not count every way of being at a limit: v1 with no swap allowed counts none.
    """
    hit = [group for group in (*situation.chain, *situation.below) if _is_hit(group)]
    if hit:
        return max(hit, key=lambda g: (g.figures.high_hits or 0) + (g.figures.max_hits or 0))
    return next((group for group in situation.chain if _is_full(group)), None)


def _is_full(group: Group) -> bool:
    limit, used = _value(group), group.figures.memory_bytes
    return limit is not None and used is not None and used >= _AT_LIMIT * limit


def _value(group: Group) -> int | None:
    """The lower of the two limits that make reclaim work."""
    limits = (group.limits.memory_high_bytes, group.limits.memory_max_bytes)
    return min((limit for limit in limits if isinstance(limit, int)), default=None)


def _is_high(group: Group) -> bool:
    figures, limits = group.figures, group.limits
    if figures.high_hits is None and figures.max_hits is None:  # a history has neither
        high, most = limits.memory_high_bytes, limits.memory_max_bytes
        return isinstance(high, int) and not (isinstance(most, int) and most <= high)
    return (figures.high_hits or 0) > (figures.max_hits or 0)


def _is_swapping(situation: Situation) -> bool:
    figures = situation.own.figures
    back = figures.refault_anon or 0
    return back >= _SWAPPED_PAGES * situation.span_s and back > (figures.refault_file or 0)


def _size(value: float | None) -> str:
    return "no limit" if value is None else show_size(value)


def _stalls(situation: Situation) -> Iterator[Evidence]:
    own, span_s = situation.own, situation.span_s
    for what, share in (
        ("some task stalled", own.figures.memory_some),
        ("all tasks stalled", own.figures.memory_full),
    ):
        if share is not None:
            seconds = round(share * span_s, 3)
            file = own.file("memory.pressure")
            yield Evidence(what=what, value=seconds, unit="s", file=file)


def _refaults(group: Group) -> Iterator[Evidence]:
    figures = group.figures
    for what, count in (
        ("pages of files read again", figures.refault_file),
        ("pages swapped in again", figures.refault_anon),
        ("pages that reclaim looked at", figures.scanned),
    ):
        if count:
            yield Evidence(what=what, value=count, unit="pages", file=group.file("memory.stat"))


def _held(group: Group) -> Iterator[Evidence]:
    limit, figures = _value(group), group.figures
    name = "memory.high" if _is_high(group) else "memory.max"
    yield Evidence(what="limit", value=_size(limit), file=group.file(name))
    yield Evidence(
        what="in use", value=_size(figures.memory_bytes), file=group.file("memory.current")
    )
    hits = figures.high_hits if _is_high(group) else figures.max_hits
    if hits is not None:
        yield Evidence(what="hits", value=hits, unit="times", file=group.file("memory.events"))


def _largest(situation: Situation, whole: float, below: str) -> Group | None:
    """Of the neighbours below a group the one that has most of its memory, if one has."""
    inside = [n for n in situation.neighbours if n.group.path.startswith(below)]
    best = next(iter(largest(inside, memory_of)), None)
    own = situation.own.figures.memory_bytes or 0
    if best is None or memory_of(best) < max(_MOST * whole, own):
        return None
    return best.group


def _of_limit(situation: Situation, group: Group, stalled: float | None) -> Cause:
    kind: Kind = "memory-high" if _is_high(group) else "memory-max"
    limit = _value(group)
    flag = "--memory-high" if kind == "memory-high" else "--memory"
    evidence = [*_held(group), *_stalls(situation), *_refaults(situation.own)]
    more = [commands.change(group, flag, commands.memory(1.5 * (limit or 0)))]
    is_above = group in situation.chain[1:]
    neighbour = _largest(situation, limit or 0, f"{group.path}/") if is_above else None
    if neighbour is not None:
        evidence.append(
            Evidence(
                what=f"{neighbour.called} has",
                value=_size(neighbour.figures.memory_bytes),
                file=neighbour.file("memory.current"),
            )
        )
        half = commands.memory((neighbour.figures.memory_bytes or 0) / 2)
        more.append(commands.change(neighbour, "--memory", half))
    return Cause(
        kind=kind,
        group=group.path,
        container=group.container,
        share=stalled,
        says=f"{situation.whose(group)} {kind.replace('-', '.')} of {_size(limit)} is reached, and "
        "what reclaim takes is needed again",
        evidence=tuple(evidence),
        commands=tuple(more),
    )


def _of_swap(situation: Situation, found: Group | None, stalled: float | None) -> Cause:
    own, machine = situation.own, situation.machine
    group = found or own
    evidence = [*_refaults(own), *_stalls(situation)]
    if own.figures.swap_bytes is not None:
        swapped = _size(own.figures.swap_bytes)
        evidence.append(
            Evidence(what="in swap", value=swapped, file=own.file("memory.swap.current"))
        )
    if machine.swapped_in is not None:
        pages = round(machine.swapped_in)
        evidence.append(
            Evidence(what="host: swapped in", value=pages, unit="pages/s", file="/proc/vmstat")
        )
    if found is None:
        return Cause(
            kind="swap",
            group="/",
            container=None,
            share=stalled,
            says="the host swaps out what it needs, and swaps it in again and again",
            evidence=tuple(evidence),
            commands=(commands.change(own, "--memory-low", _memory_of(own)),),
        )
    limit = _value(group) or 0
    flag = "--memory-high" if _is_high(group) else "--memory"
    needed = max(1.5 * limit, limit + (own.figures.swap_bytes or 0))
    return Cause(
        kind="swap",
        group=group.path,
        container=group.container,
        share=stalled,
        says=f"{situation.whose(group)} memory limit of {_size(limit)} is too small: what is "
        "needed is swapped out and in again and again",
        evidence=(*_held(group), *evidence),
        commands=(commands.change(group, flag, commands.memory(needed)),),
    )


def _memory_of(group: Group) -> str:
    return commands.memory((group.figures.memory_bytes or 0) + (group.figures.swap_bytes or 0))


def _of_host(situation: Situation, stalled: float | None) -> Cause:
    own, machine = situation.own, situation.machine
    whole, free = machine.memory_bytes or 0, machine.available_bytes or 0
    evidence = [
        Evidence(what="host: available", value=_size(free), file="/proc/meminfo"),
        Evidence(what="host: memory", value=_size(whole), file="/proc/meminfo"),
        *_stalls(situation),
        *_refaults(own),
    ]
    keep = commands.change(own, "--memory-low", _memory_of(own))
    is_scarce = free < _SCARCE * whole
    group = _largest(situation, whole, "/") if is_scarce else None
    if group is None:
        return Cause(
            kind="memory-host",
            group="/",
            container=None,
            share=stalled,
            says="the host is short of memory"
            if is_scarce
            else "it waits for memory, though no limit of its own or above it is reached",
            evidence=tuple(evidence),
            commands=(keep,),
        )
    has = _size(group.figures.memory_bytes)
    evidence.append(
        Evidence(what=f"{group.called} has", value=has, file=group.file("memory.current"))
    )
    half = commands.memory((group.figures.memory_bytes or 0) / 2)
    return Cause(
        kind="memory-neighbour",
        group=group.path,
        container=group.container,
        share=stalled,
        says=f"the host is short of memory, and {group.called} has {has} of its {_size(whole)}",
        evidence=tuple(evidence),
        commands=(commands.change(group, "--memory", half), keep),
    )
