"""The io controller (v1: blkio): weight, caps and accounting of block devices.

Sources: admin-guide/cgroup-v1/blkio-controller.rst, cgroup-v2.rst, block/bfq-iosched.rst. The
weight takes effect only on devices whose scheduler knows it: bfq, or on v2 io.cost.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from cgagent.cgroups import amount, convert, files
from cgagent.cgroups.amount import UNLIMITED, Unlimited
from cgagent.cgroups.changes import Write, missing, refuse
from cgagent.cgroups.limits import IoLatency, IoMax, IoWeight, Limits
from cgagent.cgroups.usage import DeviceIo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FIELDS: Final = frozenset(
    {
        "io_weight",
        "blkio_weight",
        "io_weight_device",
        "blkio_weight_device",
        "io_max",
        "io_latency",
    }
)

Unit = Literal["io", "blkio"]

# From the other unit.
_IN_UNIT: Final[dict[Unit, Callable[[int], int]]] = {
    "io": convert.blkio_weight_to_io_weight,
    "blkio": convert.io_weight_to_blkio_weight,
}
_KEYS: Final = ("rbps", "wbps", "riops", "wiops")
_CAUSES: Final = {errno.ENODEV: "there is no such block device: give a whole disk's MAJOR:MINOR"}
_WEIGHT_CAUSES: Final = {
    **_CAUSES,
    errno.EOPNOTSUPP: "this disk's scheduler knows no weights: set it to bfq, or on v2 set up "
    "io.cost.qos for it",
}


_V1_BYTES: Final = {"Read": "rbytes", "Write": "wbytes", "Discard": "dbytes"}
_V1_COUNTS: Final = {"Read": "rios", "Write": "wios", "Discard": "dios"}


class IoV1:
    FIELDS: ClassVar = FIELDS

    _THROTTLE: ClassVar = {
        "rbps": "blkio.throttle.read_bps_device",
        "wbps": "blkio.throttle.write_bps_device",
        "riops": "blkio.throttle.read_iops_device",
        "wiops": "blkio.throttle.write_iops_device",
    }
    # blkio.weight was cfq's and went with it in Linux 5.0.
    _WEIGHTS: ClassVar = ("blkio.bfq.weight", "blkio.weight")
    _DEVICES: ClassVar = "blkio.bfq.weight_device"

    # Linux 6.1 counts at the throttle only in groups with a cap, bfq only where it schedules,
    # so the larger figure of the two is taken. 6.18 counts everything at the throttle.
    _STATISTICS: ClassVar = {
        "blkio.throttle.io_service_bytes_recursive": _V1_BYTES,
        "blkio.throttle.io_serviced_recursive": _V1_COUNTS,
        "blkio.bfq.io_service_bytes_recursive": _V1_BYTES,
        "blkio.bfq.io_serviced_recursive": _V1_COUNTS,
    }

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        reason = "in cgroup v1, where this host has its io controller"
        refuse({"io_latency": "io.latency"}, dict(limits), reason)
        weight = _blkio_weight(limits)
        writes = _weight_writes(limits, self._dir, dict.fromkeys(self._WEIGHTS, weight))
        writes += _device_weights(limits, lambda _device: (f"{self._dir}/{self._DEVICES}", "blkio"))
        for device in limits.io_max or ():
            for key, name in self._THROTTLE.items():
                value = getattr(device, key)
                if value is not None:
                    line = f"{device.device} {amount.spell(value, unlimited='0')}"
                    undo = _v1_line(device.device)
                    writes.append(Write("io_max", f"{self._dir}/{name}", line, undo, _CAUSES))
        return writes

    def held(self) -> Limits:
        devices: dict[str, dict[str, int | Unlimited | None]] = {}
        texts = {key: files.read(f"{self._dir}/{name}") for key, name in self._THROTTLE.items()}
        for key, text in texts.items():
            for device, value in files.flat(text).items():
                devices.setdefault(device, {})[key] = int(value)
        return Limits(
            blkio_weight=_weight(_first_text(self._dir, self._WEIGHTS)),
            blkio_weight_device=_held_weights(files.read(f"{self._dir}/{self._DEVICES}")),
            io_max=_io_max(devices) if any(text is not None for text in texts.values()) else None,
        )

    def paths(self) -> Sequence[str]:
        return tuple(f"{self._dir}/{name}" for name in self._STATISTICS)

    def usage(self, texts: Sequence[str | None]) -> tuple[DeviceIo, ...] | None:
        if not any(text is not None for text in texts):
            return None
        devices: dict[str, dict[str, int]] = {}
        for text, keys in zip(texts, self._STATISTICS.values(), strict=True):
            for device, operation, count in _v1_counts(text):
                key = keys.get(operation)
                if key:
                    counts = devices.setdefault(device, {})
                    counts[key] = max(counts.get(key, 0), count)
        return tuple(
            DeviceIo(device=device, **counts)  # type: ignore[arg-type] # not cost_ns, none here
            for device, counts in devices.items()
        )


def _v1_counts(text: str | None) -> Iterator[tuple[str, str, int]]:
    """(device, operation, count) of lines such as "8:0 Read 4096"."""
    for line in files.lines(text or ""):
        device, *rest = line.split()
        if len(rest) > 1:  # the last line is a total over all devices
            yield device, rest[0], int(rest[1])


_COST: Final = "cost."
_V2_KEYS: Final = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")


class IoV2:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        weights = {"io.weight": _io_weight(limits), "io.bfq.weight": _blkio_weight(limits)}
        writes = _weight_writes(limits, self._dir, weights)
        writes += _device_weights(limits, self._weight_file)
        for target in limits.io_latency or ():
            # Of two devices' targets the kernel keeps each on a line of its own.
            line = f"{target.device} target={amount.spell(target.target_us)}"
            path = f"{self._dir}/io.latency"
            writes.append(Write("io_latency", path, line, _latency_line(target.device), _CAUSES))
        for device in limits.io_max or ():
            caps = ((key, getattr(device, key)) for key in _KEYS)
            line = " ".join(f"{key}={amount.spell(v)}" for key, v in caps if v is not None)
            if line:
                undo = _v2_line(device.device)
                path = f"{self._dir}/io.max"
                writes.append(Write("io_max", path, f"{device.device} {line}", undo, _CAUSES))
        return writes

    def held(self) -> Limits:
        caps = files.read(f"{self._dir}/io.max")
        devices = {
            device: {key: amount.parse(value) for key, value in pairs.items() if key in _KEYS}
            for device, pairs in files.nested(caps).items()
        }
        weights = files.read(f"{self._dir}/io.weight")
        bfq = files.read(f"{self._dir}/io.bfq.weight")
        latency = files.read(f"{self._dir}/io.latency")
        return Limits(
            io_weight=_weight(weights),
            blkio_weight=_weight(bfq) if weights is None else None,
            io_weight_device=self._all_weights(weights, bfq),
            blkio_weight_device=_held_weights(bfq) if weights is None else None,
            io_latency=None if latency is None else _held_latency(latency),
            io_max=None if caps is None else _io_max(devices),
        )

    def _weight_file(self, device: str) -> tuple[str, Unit]:
        """The file that acts on a disk: bfq's where that is its scheduler, else io.cost's."""
        bfq = f"{self._dir}/io.bfq.weight"
        scheduler = files.read(f"/sys/dev/block/{device}/queue/scheduler") or ""
        if "[bfq]" in scheduler or not os.path.exists(f"{self._dir}/io.weight"):
            return bfq, "blkio"
        return f"{self._dir}/io.weight", "io"

    @staticmethod
    def _all_weights(weights: str | None, bfq: str | None) -> tuple[IoWeight, ...] | None:
        """Of both files in io.weight's unit, where there is an io.weight."""
        if weights is None:
            return None
        converted = (
            replace(w, weight=convert.blkio_weight_to_io_weight(w.weight))
            for w in _held_weights(bfq) or ()
            if w.weight is not None
        )
        return (*(_held_weights(weights) or ()), *converted)

    def paths(self) -> Sequence[str]:
        return (f"{self._dir}/io.stat",)

    def usage(self, texts: Sequence[str | None]) -> tuple[DeviceIo, ...] | None:
        (text,) = texts
        if text is None:
            return None
        return tuple(
            DeviceIo(
                device=device,
                cost_ns=_cost_ns(pairs),
                **{key: int(pairs.get(key, 0)) for key in _V2_KEYS},
            )
            for device, pairs in files.nested(text).items()
            if "rbytes" in pairs
        )


def _cost_ns(pairs: Mapping[str, str]) -> dict[str, int] | None:
    """The keys "cost.usage" and the like; the kernel has them in microseconds."""
    costs = {key[len(_COST) :]: value for key, value in pairs.items() if key.startswith(_COST)}
    return {key: 1000 * int(value) for key, value in costs.items() if value.isdecimal()} or None


def _io_weight(limits: Limits) -> int | None:
    if limits.blkio_weight is not None:
        return convert.blkio_weight_to_io_weight(limits.blkio_weight)
    return limits.io_weight


def _blkio_weight(limits: Limits) -> int | None:
    if limits.io_weight is not None:
        return convert.io_weight_to_blkio_weight(limits.io_weight)
    return limits.blkio_weight


def _weight_writes(limits: Limits, directory: str, values: dict[str, int | None]) -> list[Write]:
    """The weight into each file there is: which one acts depends on each disk's scheduler."""
    limit = "io_weight" if limits.io_weight is not None else "blkio_weight"
    paths = {f"{directory}/{name}": value for name, value in values.items() if value is not None}
    there = {path: value for path, value in paths.items() if os.path.exists(path)}
    if paths and not there:
        raise missing(limit, next(iter(paths)))
    return [Write(limit, path, str(value), _default_weight) for path, value in there.items()]


def _default_weight(text: str) -> str:
    """The group's own weight in a file that may list devices' weights too."""
    return text.split("\n", 1)[0].removeprefix("default ").strip()


def _weight(text: str | None) -> int | None:
    return None if text is None else int(_default_weight(text))


def _device_weights(limits: Limits, file_of: Callable[[str], tuple[str, Unit]]) -> Iterator[Write]:
    """Weights by device, each in the unit of the file that `file_of` has for the device."""
    for limit in ("io_weight_device", "blkio_weight_device"):
        for entry in getattr(limits, limit) or ():
            path, unit = file_of(entry.device)
            weight = entry.weight
            if weight is not None and limit != f"{unit}_weight_device":
                to = convert.io_weight_to_blkio_weight
                weight = (
                    to(weight) if unit == "blkio" else convert.blkio_weight_to_io_weight(weight)
                )
            line = f"{entry.device} {'default' if weight is None else weight}"
            yield Write(limit, path, line, _weight_line(entry.device), _WEIGHT_CAUSES)


def _held_weights(text: str | None) -> tuple[IoWeight, ...] | None:
    """The lines of devices, after the one of the group's own weight."""
    if text is None:
        return None
    lines = (line.split() for line in files.lines(text))
    return tuple(
        IoWeight(major=int(major), minor=int(minor), weight=int(weight))
        for major, _, minor, weight in ((*d.partition(":"), w) for d, w in filter(_is_pair, lines))
        if minor
    )


def _is_pair(words: list[str]) -> bool:
    return len(words) == 2  # noqa: PLR2004 - a device and its weight


def _weight_line(device: str) -> Callable[[str], str]:
    def undo(text: str) -> str:
        held = {w.device: w.weight for w in _held_weights(text) or ()}
        return f"{device} {held.get(device) or 'default'}"

    return undo


def _latency_line(device: str) -> Callable[[str], str]:
    return lambda text: f"{device} target={files.nested(text).get(device, {}).get('target', 'max')}"


def _held_latency(text: str) -> tuple[IoLatency, ...]:
    return tuple(
        IoLatency(
            major=int(device.partition(":")[0]),
            minor=int(device.partition(":")[2]),
            target_us=int(pairs["target"]),
        )
        for device, pairs in files.nested(text).items()
        if pairs.get("target", "max") != "max"
    )


def _first_text(directory: str, names: tuple[str, ...]) -> str | None:
    texts = (files.read(f"{directory}/{name}") for name in names)
    return next((text for text in texts if text is not None), None)


def _v1_line(device: str) -> Callable[[str], str]:
    return lambda text: f"{device} {files.flat(text).get(device, '0')}"


def _v2_line(device: str) -> Callable[[str], str]:
    def undo(text: str) -> str:
        pairs = files.nested(text).get(device, {})
        return " ".join([device, *(f"{key}={pairs.get(key, 'max')}" for key in _KEYS)])

    return undo


def _io_max(devices: dict[str, dict[str, int | Unlimited | None]]) -> tuple[IoMax, ...]:
    """Caps by device; what a listed device has no cap for is UNLIMITED."""
    return tuple(
        IoMax(
            major=int(device.partition(":")[0]),
            minor=int(device.partition(":")[2]),
            **{key: caps.get(key, UNLIMITED) for key in _KEYS},
        )
        for device, caps in devices.items()
    )
