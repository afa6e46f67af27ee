"""The recent past of each target, in memory: every sample of 10 minutes, averages of 6 hours.

A row is a time (a float of 8 bytes) and a float32 of each column, so a full history of one target
takes `MAX_BYTES` and no more; it grows up to that as samples come. It is gone with the agent: what
shall last is scraped. Times are of the wall clock, and rows stand in the order in which they came,
also where that clock was set back.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgagent.metrics.rates import Rates
    from cgagent.metrics.samples import Sample

FINE_ROWS: Final = 600
COARSE_ROWS: Final = 1440
COARSE_S: Final = 15.0


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


COLUMNS: Final = Row._fields
MAX_BYTES: Final = (FINE_ROWS + COARSE_ROWS) * (8 + 4 * len(COLUMNS))

_NONE: Final = math.nan


def row_of(sample: Sample, rates: Rates | None) -> Row:
    usage = sample.usage
    if rates is None:
        return Row(
            None,
            None,
            usage.memory.current_bytes,
            usage.memory.working_set_bytes,
            usage.pids.current,
            *(None,) * 5,
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
    )


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


class History:
    """Of one target. Not to be shared between threads without a lock."""

    def __init__(self, began_s: float) -> None:
        self._fine = _Ring(FINE_ROWS)
        self._coarse = _Ring(COARSE_ROWS)
        self._slot: list[Row] = []
        self._packed: tuple[Row, array[float]] | None = None
        """The last row: what is idle has the same one again and again."""
        self._slot_ends_s = began_s + COARSE_S

    def add(self, at_s: float, row: Row) -> None:
        was_set_back = at_s < self._slot_ends_s - 2 * COARSE_S
        if (at_s >= self._slot_ends_s or was_set_back) and self._slot:
            self._coarse.add(self._slot_ends_s, self._mean_of_slot())
            self._slot.clear()
            self._slot_ends_s += COARSE_S * (1 + (at_s - self._slot_ends_s) // COARSE_S)
        self._slot.append(row)
        self._fine.add(at_s, self._packed_row(row))

    def _packed_row(self, row: Row) -> array[float]:
        if self._packed is None or self._packed[0] is not row:
            self._packed = row, _pack(row)
        return self._packed[1]

    def _mean_of_slot(self) -> array[float]:
        first = self._slot[0]
        if all(row is first for row in self._slot):
            return self._packed_row(first)
        return _pack(_mean(values) for values in zip(*self._slot, strict=True))

    def since(self, at_s: float) -> list[tuple[float, Row]]:
        """Rows later than `at_s`, oldest first: averages, then samples for as far as they reach."""
        fine = list(self._fine.rows())
        fine_begins_s = fine[0][0] if fine else math.inf
        rows = [*((t, row) for t, row in self._coarse.rows() if t < fine_begins_s), *fine]
        return [(t, row) for t, row in rows if t > at_s]

    def columns(self, at_s: float, names: Iterable[str] = COLUMNS) -> dict[str, list[float | None]]:
        """The same by column, with the times as "at_s": for few columns of many rows."""
        fine, coarse = self._fine.times(), self._coarse.times()
        begins_s = fine[0] if fine else math.inf
        places = (
            [place for place, t in enumerate(coarse) if at_s < t < begins_s],
            [place for place, t in enumerate(fine) if t > at_s],
        )

        def chosen(values: tuple[array[float], array[float]]) -> list[float | None]:
            return [
                None if math.isnan(value) else value
                for which, kept in zip(values, places, strict=True)
                for value in map(which.__getitem__, kept)
            ]

        rings = self._coarse, self._fine
        found = {"at_s": chosen((coarse, fine))}
        for name in names:
            column = COLUMNS.index(name)
            found[name] = chosen((rings[0].column(column), rings[1].column(column)))
        return found


class _Ring:
    """Rows in two arrays that grow up to `size` and are overwritten from then on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._times = array("d")
        self._values = array("f")
        self._next = 0

    def add(self, time: float, values: array[float]) -> None:
        if len(self._times) < self._size:
            self._times.append(time)
            self._values.extend(values)
            return
        self._times[self._next] = time
        self._values[self._next * len(COLUMNS) : (self._next + 1) * len(COLUMNS)] = values
        self._next = (self._next + 1) % self._size

    def times(self) -> array[float]:
        """Oldest first."""
        return self._times[self._next :] + self._times[: self._next]

    def column(self, number: int) -> array[float]:
        """In the same order; NaN for what is not known."""
        values = self._values[number :: len(COLUMNS)]
        return values[self._next :] + values[: self._next]

    def rows(self) -> Iterator[tuple[float, Row]]:
        """Oldest first."""
        for place in (*range(self._next, len(self._times)), *range(self._next)):
            values = self._values[place * len(COLUMNS) : (place + 1) * len(COLUMNS)]
            yield self._times[place], Row(*(None if math.isnan(v) else v for v in values))


def _pack(row: Iterable[float | None]) -> array[float]:
    return array("f", (_NONE if value is None else value for value in row))


def _mean(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
