"""The recent past of each target, in memory: every sample of 10 minutes, averages of 6 hours.

A row is a time (a float of 8 bytes) and a float32 of each column, so a full history of one target
takes `MAX_BYTES` and no more; it grows up to that as samples come. Two more columns are kept of
each block device, from the moment on in which the target uses it. It is gone with the agent: what
shall last is scraped. Times are of the wall clock, and rows stand in the order in which they came,
also where that clock was set back.
"""

from __future__ import annotations

import math
from array import array
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cgagent.metrics.rates import DeviceRates, Rates
    from cgagent.metrics.samples import Sample

FINE_ROWS: Final = 600
COARSE_ROWS: Final = 1440
COARSE_S: Final = 15.0
DEVICES: Final = 8
"""Block devices whose rates are kept: those that a target has used first."""


class Row(NamedTuple):
    """What is kept of a sample. None: not counted by this kernel, or no earlier sample."""

    cpu_cores: float | None
    """CPU seconds a second."""
    throttled_ratio: float | None
    memory_bytes: float | None
    working_set_bytes: float | None
    pids: float | None
    cpu_stalled_ratio: float | None
    """Of the time in which some task waited, as all three."""
    memory_stalled_ratio: float | None
    io_stalled_ratio: float | None
    read_bytes_per_s: float | None
    write_bytes_per_s: float | None
    receive_bytes_per_s: float | None
    """On all interfaces of its own network namespace."""
    transmit_bytes_per_s: float | None


class IoRates(NamedTuple):
    """Of one block device."""

    read_bytes_per_s: float | None
    write_bytes_per_s: float | None


COLUMNS: Final = Row._fields
MAX_BYTES: Final = (FINE_ROWS + COARSE_ROWS) * (8 + 4 * (len(COLUMNS) + 2 * DEVICES))

_NONE: Final = math.nan
_NO_DEVICES: Final[Mapping[str, DeviceRates]] = {}
_UNKNOWN: Final = IoRates(None, None)


def row_of(sample: Sample, rates: Rates | None) -> Row:
    usage = sample.usage
    if rates is None:
        return Row(
            None,
            None,
            usage.memory.current_bytes,
            usage.memory.working_set_bytes,
            usage.pids.current,
            *(None,) * 7,
        )
    stalled = rates.stalled_percent
    return Row(
        _ratio(rates.cpu_percent),
        _ratio(rates.throttled_percent),
        usage.memory.current_bytes,
        usage.memory.working_set_bytes,
        usage.pids.current,
        _ratio(stalled["cpu"]),
        _ratio(stalled["memory"]),
        _ratio(stalled["io"]),
        rates.read_bytes_per_s,
        rates.write_bytes_per_s,
        rates.receive_bytes_per_s,
        rates.transmit_bytes_per_s,
    )


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _io(rates: DeviceRates | None) -> IoRates:
    return _UNKNOWN if rates is None else IoRates(rates.read_bytes_per_s, rates.write_bytes_per_s)


class Past(NamedTuple):
    """What is kept of one target, oldest first."""

    rows: list[tuple[float, Row]]
    devices: dict[str, list[IoRates]]
    """For each of the rows, by block device."""


class History:
    """Of one target. Not to be shared between threads without a lock."""

    def __init__(self, began_s: float) -> None:
        self._fine = _Ring(FINE_ROWS)
        self._coarse = _Ring(COARSE_ROWS)
        self._devices: dict[str, int] = {}
        """The column of each one's reads; that of its writes is the next."""
        self._slot: list[array[float]] = []
        self._packed: tuple[Row, Mapping[str, DeviceRates], array[float]] | None = None
        """The last row: what is idle has the same one again and again."""
        self._slot_ends_s = began_s + COARSE_S

    def add(self, at_s: float, row: Row, devices: Mapping[str, DeviceRates] | None = None) -> None:
        packed = self._packed_row(row, _NO_DEVICES if devices is None else devices)
        was_set_back = at_s < self._slot_ends_s - 2 * COARSE_S
        if (at_s >= self._slot_ends_s or was_set_back) and self._slot:
            self._coarse.add(self._slot_ends_s, self._mean_of_slot())
            self._slot.clear()
            self._slot_ends_s += COARSE_S * (1 + (at_s - self._slot_ends_s) // COARSE_S)
        self._slot.append(packed)
        self._fine.add(at_s, packed)

    def _packed_row(self, row: Row, devices: Mapping[str, DeviceRates]) -> array[float]:
        if self._packed is None or self._packed[0] is not row or self._packed[1] is not devices:
            self._note(devices)
            io = (_io(devices.get(name)) for name in self._devices)
            self._packed = row, devices, _pack(chain(row, *io))
        return self._packed[2]

    def _note(self, devices: Mapping[str, DeviceRates]) -> None:
        """Have columns for those of them that are used."""
        for name, rates in devices.items():
            is_used = rates.read_bytes_per_s or rates.write_bytes_per_s
            if is_used and name not in self._devices and len(self._devices) < DEVICES:
                self._devices[name] = len(COLUMNS) + 2 * len(self._devices)
                self._fine.widen(len(_UNKNOWN))
                self._coarse.widen(len(_UNKNOWN))
                self._slot = [_pack((*one, *_UNKNOWN)) for one in self._slot]

    def _mean_of_slot(self) -> array[float]:
        first = self._slot[0]
        if all(row is first for row in self._slot):
            return first
        return array("f", (_mean(values) for values in zip(*self._slot, strict=True)))

    def since(self, at_s: float) -> list[tuple[float, Row]]:
        """Rows later than `at_s`, oldest first: averages, then samples for as far as they reach."""
        coarse, fine = self._places(at_s)
        return [*self._coarse.rows(coarse), *self._fine.rows(fine)]

    def columns(self, at_s: float, names: Iterable[str] = COLUMNS) -> dict[str, list[float | None]]:
        """The same by column, with the times as "at_s": for few columns of many rows."""
        coarse, fine = self._places(at_s)
        times = self._coarse.times(), self._fine.times()
        return {
            "at_s": [*map(times[0].__getitem__, coarse), *map(times[1].__getitem__, fine)],
            **{name: self._chosen(COLUMNS.index(name), coarse, fine) for name in names},
        }

    def past(self, at_s: float) -> Past:
        """The rows of `since`, with what was read and written of each block device meanwhile."""
        coarse, fine = self._places(at_s)
        devices = {
            name: [
                IoRates(read, written)
                for read, written in zip(
                    self._chosen(column, coarse, fine),
                    self._chosen(column + 1, coarse, fine),
                    strict=True,
                )
            ]
            for name, column in self._devices.items()
        }
        return Past(self.since(at_s), devices)

    def _places(self, at_s: float) -> tuple[list[int], list[int]]:
        """Which rows are later than `at_s`: of the averages, and of the samples."""
        fine, coarse = self._fine.times(), self._coarse.times()
        begins_s = fine[0] if fine else math.inf
        return (
            [place for place, t in enumerate(coarse) if at_s < t < begins_s],
            [place for place, t in enumerate(fine) if t > at_s],
        )

    def _chosen(self, number: int, coarse: list[int], fine: list[int]) -> list[float | None]:
        """A column's values at these places."""
        means, values = self._coarse.column(number), self._fine.column(number)
        found = [*map(means.__getitem__, coarse), *map(values.__getitem__, fine)]
        return [None if math.isnan(value) else value for value in found]


class _Ring:
    """Rows in two arrays that grow up to `size` and are overwritten from then on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._width = len(COLUMNS)
        self._times = array("d")
        self._values = array("f")
        self._next = 0

    def add(self, time: float, values: array[float]) -> None:
        if len(self._times) < self._size:
            self._times.append(time)
            self._values.extend(values)
            return
        self._times[self._next] = time
        self._values[self._next * self._width : (self._next + 1) * self._width] = values
        self._next = (self._next + 1) % self._size

    def widen(self, columns: int) -> None:
        """So many more columns, of which nothing is known in the rows that are there."""
        unknown = array("f", [_NONE] * columns)
        rows = [self._values_at(place) + unknown for place in range(len(self._times))]
        self._width += columns
        self._values = array("f", chain.from_iterable(rows))

    def _values_at(self, place: int) -> array[float]:
        return self._values[place * self._width : (place + 1) * self._width]

    def times(self) -> array[float]:
        """Oldest first."""
        return self._times[self._next :] + self._times[: self._next]

    def column(self, number: int) -> array[float]:
        """In the same order; NaN for what is not known."""
        values = self._values[number :: self._width]
        return values[self._next :] + values[: self._next]

    def rows(self, places: Iterable[int]) -> Iterator[tuple[float, Row]]:
        """Those at these places in the order of `times`."""
        for nth in places:
            place = (self._next + nth) % len(self._times)
            values = self._values_at(place)[: len(COLUMNS)]
            yield self._times[place], Row(*(None if math.isnan(v) else v for v in values))


def _pack(row: Iterable[float | None]) -> array[float]:
    return array("f", (_NONE if value is None else value for value in row))


def _mean(values: tuple[float, ...]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else _NONE
