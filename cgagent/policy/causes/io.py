"""What makes tasks wait for a disk: a cap of the group or above it, a neighbour, the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cgagent.policy.causes import commands
from cgagent.policy.causes.figures import DeviceUse
from cgagent.policy.causes.neighbours import largest
from cgagent.policy.causes.values import LEAST_SHARE, Cause, Evidence
from cgagent.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgagent.policy.causes.figures import Disk, Group, Neighbour, Situation

_AT_CAP: Final = 0.75
"""Of a cap: the kernel lets pass in bursts, which a short look does not see whole."""
_BUSY: Final = 0.6
_MOST: Final = 0.5
"""Of what is done on a disk."""
_NONE: Final = DeviceUse()
_CAPS: Final = (
    ("rbps", "read_bytes", "--device-read-bps", "bytes/s read"),
    ("wbps", "write_bytes", "--device-write-bps", "bytes/s written"),
    ("riops", "reads", "--device-read-iops", "reads/s"),
    ("wiops", "writes", "--device-write-iops", "writes/s"),
)
"""The field of a cap, that of what is used, the flag, and the unit."""


class _Reached(NamedTuple):
    group: Group
    device: str
    ratio: float
    """Of the cap that was used."""
    flag: str
    unit: str
    cap: int
    used: float


def causes(situation: Situation, explained: float) -> Iterator[Cause]:
    """`explained`: how long tasks stalled for memory, which is waiting for disks in part."""
    waited = situation.own.figures.io_some
    reached = max(_reached(situation), key=lambda cap: cap.ratio, default=None)
    if waited is None:
        if reached is not None:
            yield _of_cap(situation, reached, None)
        return
    rest = waited - explained
    if rest < LEAST_SHARE:
        return
    yield _of_cap(situation, reached, rest) if reached else _of_disk(situation, rest)


def _reached(situation: Situation) -> Iterator[_Reached]:
    """The caps that are used up, where the group in question does something on the device."""
    own = situation.own.figures.io
    for group in (*situation.chain, *situation.below):
        if "io" in group.v1 and group in situation.chain[1:]:
            continue  # in v1 a cap does not hold for the groups below
        for caps in group.limits.io_max or ():
            # A history has one figure for all devices.
            device = caps.device if caps.device in group.figures.io else ""
            if device not in own:
                continue
            used = group.figures.io.get(device, _NONE)
            for cap_field, use_field, flag, unit in _CAPS:
                cap, done = getattr(caps, cap_field), getattr(used, use_field)
                if isinstance(cap, int) and done >= _AT_CAP * cap:
                    yield _Reached(group, caps.device, done / cap, flag, unit, cap, done)


def _name(situation: Situation, device: str) -> str:
    disk = situation.machine.disks.get(device)
    return disk.name if disk else device


def _seconds(situation: Situation) -> Iterator[Evidence]:
    own, span_s = situation.own, situation.span_s
    for what, share in (
        ("some task waited", own.figures.io_some),
        ("all tasks waited", own.figures.io_full),
    ):
        if share is not None:
            seconds = round(share * span_s, 3)
            yield Evidence(what=what, value=seconds, unit="s", file=own.file("io.pressure"))


def _amount(value: float, unit: str) -> str:
    return f"{show_size(value)}/s" if unit.startswith("bytes") else f"{value:.0f}/s"


def _of_cap(situation: Situation, reached: _Reached, share: float | None) -> Cause:
    group, device = reached.group, _name(situation, reached.device)
    cap = _amount(reached.cap, reached.unit)
    is_size = reached.unit.startswith("bytes")
    twice = commands.rate(2 * reached.cap) if is_size else str(2 * reached.cap)
    return Cause(
        kind="io-max",
        group=group.path,
        container=group.container,
        share=share,
        says=f"{situation.whose(group)} cap of {cap} on {device} is used up ({reached.unit})",
        evidence=(
            Evidence(what="cap", value=cap, file=group.file("io.max")),
            Evidence(
                what="used", value=_amount(reached.used, reached.unit), file=group.file("io.stat")
            ),
            *_seconds(situation),
        ),
        commands=(commands.change(group, reached.flag, f"{device}:{twice}"),),
    )


def _of_disk(situation: Situation, share: float) -> Cause:
    """Of the disks that it uses the busiest; of all disks where it got nothing done at all."""
    disks = situation.machine.disks
    used = {device for device, use in situation.own.figures.io.items() if use.operations}
    candidates = {device: disk for device, disk in disks.items() if device in used} or disks
    device = max(candidates, key=lambda d: disks[d].busy, default=None)
    if device is None:
        return _of_slow(situation, None, share)
    disk, own = disks[device], situation.own.figures.io.get(device, _NONE)
    first = _first(situation.neighbours, device)
    theirs = first.group.figures.io[device] if first else _NONE
    if first is not None and disk.busy >= _BUSY and _is_more(theirs, own):
        return _of_neighbour(situation, first, device, disk, share)
    if disk.busy >= _BUSY:
        return _of_own(situation, disk, own, share)
    return _of_slow(situation, disk, share)


def _first(neighbours: Iterable[Neighbour], device: str) -> Neighbour | None:
    """Who does the most there."""
    there = [n for n in neighbours if device in n.group.figures.io]
    return next(iter(largest(there, lambda n: _load(n.group.figures.io[device]))), None)


def _load(use: DeviceUse) -> float:
    """What a disk has to do for it, roughly: an operation takes as long as 64 KiB."""
    return round(use.operations + use.bytes / 65536)


def _is_more(theirs: DeviceUse, own: DeviceUse) -> bool:
    return _load(theirs) > _load(own)


def _of_what(disk: Disk) -> Iterator[Evidence]:
    file = "/proc/diskstats"
    yield Evidence(what=f"{disk.name} busy", value=round(100 * disk.busy, 1), unit="%", file=file)
    if disk.latency_ms is not None:
        latency = round(disk.latency_ms, 2)
        yield Evidence(what="an operation takes", value=latency, unit="ms", file=file)


def _done(group: Group, use: DeviceUse) -> Evidence:
    done = f"{show_size(use.bytes)}/s in {use.operations:.0f}/s"
    return Evidence(what=f"{group.called} does", value=done, file=group.file("io.stat"))


def _of_neighbour(
    situation: Situation, first: Neighbour, device: str, disk: Disk, share: float
) -> Cause:
    group, own = first.group, situation.own
    theirs = group.figures.io[device]
    is_read = theirs.read_bytes >= theirs.write_bytes
    flag = "--device-read-bps" if is_read else "--device-write-bps"
    half = commands.rate(max(theirs.read_bytes, theirs.write_bytes) / 2)
    return Cause(
        kind="io-neighbour",
        group=group.path,
        container=group.container,
        share=share,
        says=f"{group.called} keeps {disk.name} busy",
        evidence=(
            *_of_what(disk),
            _done(group, theirs),
            _done(own, own.figures.io.get(device, _NONE)),
            *_seconds(situation),
        ),
        commands=(commands.change(group, flag, f"{disk.name}:{half}"),),
    )


def _of_own(situation: Situation, disk: Disk, use: DeviceUse, share: float) -> Cause:
    own = situation.own
    return Cause(
        kind="io-own",
        group=own.path,
        container=own.container,
        share=share,
        says=f"it keeps {disk.name} busy itself: the disk is not faster",
        evidence=(*_of_what(disk), _done(own, use), *_seconds(situation)),
    )


def _of_slow(situation: Situation, disk: Disk | None, share: float) -> Cause:
    name = disk.name if disk else "a disk"
    return Cause(
        kind="io-device",
        group="/",
        container=None,
        share=share,
        says=f"it waits for {name}, which takes its time and is not busy",
        evidence=(*(_of_what(disk) if disk else ()), *_seconds(situation)),
    )
