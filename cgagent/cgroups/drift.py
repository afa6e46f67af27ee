"""What is held against what was asked: drift is a difference that the kernel did not make itself.

The kernel rounds (memory to pages, huge pages to their size), speaks one unit of two, completes
lines and leaves out devices without limits. None of that is drift. Pure functions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent.cgroups import convert, files
from cgagent.cgroups.amount import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_HUGE: Final = 1 << 62  # the kernel's own end of the scale, in bytes: it reads as no limit
_IOPS_MAX: Final = 2**32 - 1
_SIZES: Final = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_IO_KEYS: Final = ("rbps", "wbps", "riops", "wiops")


@dataclass(frozen=True, slots=True)
class Drift:
    """One limit that is not held as it was asked. `held` is None where it cannot be read.

    Of limits by device or size, the entries that differ: the asked and, next to them, the
    held ones.
    """

    name: str
    asked: Any
    held: Any


class _Limits(Protocol):
    """`cgagent.cgroups.Limits`, as far as its members are not read by name."""

    @property
    def weight(self) -> int | None: ...
    @property
    def shares(self) -> int | None: ...
    def __iter__(self) -> Iterator[tuple[str, Any]]: ...
    @property
    def memory_low_bytes(self) -> Any: ...
    @property
    def memory_min_bytes(self) -> Any: ...
    @property
    def cpu_idle(self) -> bool | None: ...
    @property
    def io_weight(self) -> int | None: ...
    @property
    def blkio_weight(self) -> int | None: ...
    @property
    def io_weight_device(self) -> tuple[Any, ...] | None: ...
    @property
    def blkio_weight_device(self) -> tuple[Any, ...] | None: ...


def between(asked: _Limits, held: _Limits) -> tuple[Drift, ...]:
    found = []
    for name, wish in asked:
        if isinstance(wish, tuple):
            drift = _of_entries(name, wish, held)
        else:
            compare = _BY_FIELD.get(name, _plain)
            drift = None if compare(name, asked, held) else Drift(name, wish, _read(name, held))
        found += [drift] if drift else []
    return tuple(found)


def _read(name: str, held: _Limits) -> Any:
    """What is held for a field, in the field's own unit where the kernel speaks another."""
    value = getattr(held, name)
    if value is None and name in {"cpu_weight", "cpu_shares"}:
        return held.weight if name == "cpu_weight" else held.shares
    return value


def _plain(name: str, asked: _Limits, held: _Limits) -> bool:
    return bool(getattr(asked, name) == getattr(held, name))


def _is_same_size(asked: Any, held: Any, unit: int) -> bool:
    if isinstance(asked, int) and isinstance(held, int):
        return abs(asked - held) < unit
    return asked == held or (held is UNLIMITED and isinstance(asked, int) and asked >= _HUGE)


def _bytes(name: str, asked: _Limits, held: _Limits) -> bool:
    return _is_same_size(getattr(asked, name), getattr(held, name), _PAGE)


def _bits(name: str, asked: _Limits, held: _Limits) -> bool:
    """The kernel keeps whole bytes a second."""
    return _is_same_size(getattr(asked, name), getattr(held, name), 8)


def _low(name: str, asked: _Limits, held: _Limits) -> bool:
    """v1's soft limit (a host without memory.min) is the same for no and for full protection."""
    extremes = {0, UNLIMITED}
    is_v1 = held.memory_min_bytes is None
    if is_v1 and asked.memory_low_bytes in extremes and held.memory_low_bytes in extremes:
        return True
    return _bytes(name, asked, held)


def _cpu_weight(name: str, asked: _Limits, held: _Limits) -> bool:
    if held.cpu_idle:  # an idle group shows no weight
        return asked.cpu_idle is True
    exact = getattr(held, name)
    return exact == getattr(asked, name) if exact is not None else asked.weight == held.weight


def _io_weight(_name: str, asked: _Limits, held: _Limits) -> bool:
    return _is_same_weight(asked.io_weight, asked.blkio_weight, held.io_weight, held.blkio_weight)


def _is_same_weight(io: int | None, blkio: int | None, held_io: Any, held_blkio: Any) -> bool:
    if held_io is not None:
        return bool((convert.blkio_weight_to_io_weight(blkio) if blkio else io) == held_io)
    return bool((convert.io_weight_to_blkio_weight(io) if io else blkio) == held_blkio)


def _cpuset(name: str, asked: _Limits, held: _Limits) -> bool:
    """Any spelling of the same numbers; "" is the parent's set, on v1 as it was when written."""
    wish, value = getattr(asked, name), getattr(held, name)
    if value is None or not wish.strip():
        return value is not None
    return convert.numbers_in_list(wish) == convert.numbers_in_list(value)


_BY_FIELD: Final[dict[str, Callable[[str, _Limits, _Limits], bool]]] = {
    "memory_max_bytes": _bytes,
    "memory_high_bytes": _bytes,
    "memory_low_bytes": _low,
    "memory_min_bytes": _bytes,
    "memory_swap_max_bytes": _bytes,
    "memory_zswap_max_bytes": _bytes,
    "cpu_weight": _cpu_weight,
    "cpu_shares": _cpu_weight,
    "io_weight": _io_weight,
    "blkio_weight": _io_weight,
    "cpuset_cpus": _cpuset,
    "cpuset_mems": _cpuset,
    "net_rate_in_bits": _bits,
    "net_rate_out_bits": _bits,
}


def _of_entries(name: str, asked: tuple[Any, ...], held: _Limits) -> Drift | None:
    """Limits by device, page size or file: each entry asked against the one held for its key."""
    theirs = _held_entries(name, held)
    if theirs is None:
        return Drift(name, asked, None)
    key: Callable[[Any], str] = _key
    by_key = {key(entry): entry for entry in theirs}
    differing = [entry for entry in asked if not _is_held(name, entry, by_key.get(key(entry)))]
    if not differing:
        return None
    there = tuple(by_key[key(entry)] for entry in differing if key(entry) in by_key)
    return Drift(name, tuple(differing), there)


def _held_entries(name: str, held: _Limits) -> tuple[Any, ...] | None:
    """In the unit of the field `name`, whichever the kernel speaks."""
    mine: tuple[Any, ...] | None = getattr(held, name)
    if mine is None and name == "io_weight_device":
        return _converted(held.blkio_weight_device, convert.blkio_weight_to_io_weight)
    if mine is None and name == "blkio_weight_device":
        return _converted(held.io_weight_device, convert.io_weight_to_blkio_weight)
    return mine


def _converted(
    weights: tuple[Any, ...] | None, convert_one: Callable[[int], int]
) -> tuple[Any, ...] | None:
    if weights is None:
        return None
    return tuple(replace(w, weight=w.weight and convert_one(w.weight)) for w in weights)


def _key(entry: Any) -> str:
    return str(entry[0] if isinstance(entry, tuple) else entry.device)


def _is_held(name: str, asked: Any, held: Any) -> bool:
    if name == "hugetlb_max_bytes":
        return held is not None and _is_same_size(asked[1], held[1], _huge_page(asked[0]))
    if name == "conf":
        return held is not None and _is_line_in(asked[1], held[1])
    if name == "io_max":
        return all(_is_cap_held(key, asked, held) for key in _IO_KEYS)
    if name == "io_latency":
        return bool(asked.target_us == (held.target_us if held else UNLIMITED))
    return _is_device_weight_held(name, asked.weight, held.weight if held else None)


def _is_device_weight_held(name: str, asked: int | None, held: int | None) -> bool:
    if name == "io_weight_device" and asked is not None and asked != held:
        # bfq holds a hundredth of the steps, as blkio weights.
        asked = convert.blkio_weight_to_io_weight(convert.io_weight_to_blkio_weight(asked))
    return asked == held


def _huge_page(size: str) -> int:
    return int(size[:-2]) * _SIZES[size[-2:]] if size[-2:] in _SIZES else 1


def _is_cap_held(key: str, asked: Any, held: Any) -> bool:
    wish = getattr(asked, key)
    value = getattr(held, key) if held else UNLIMITED
    if key.endswith("iops") and isinstance(wish, int) and wish >= _IOPS_MAX:
        return value is UNLIMITED or value == _IOPS_MAX
    return wish is None or wish == value


def _is_line_in(asked: str, held: str) -> bool:
    """The value itself, or all its words in the one line that starts with the same word."""
    words = asked.split()
    if words == held.split():
        return True
    lines = (line.split() for line in files.lines(held))
    return any(line[:1] == words[:1] and set(words) <= set(line) for line in lines)
