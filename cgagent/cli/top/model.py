"""What the live screen shows, without a screen: rows, their order, the chosen one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.standard import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PAST: Final = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One container or group. None: not known, or not counted by this kernel."""

    id: str
    name: str
    cgroup: str
    frozen: bool
    cpu_percent: float | None
    throttled_percent: float | None
    memory_bytes: int | None
    limit_bytes: int | None
    pids: int | None
    read_per_s: float | None
    write_per_s: float | None
    stalled: tuple[float | None, float | None, float | None]
    """Percent of the time in which some task waited for CPU, memory, IO."""

    @property
    def is_container(self) -> bool:
        return not self.id.startswith("cgroup:")

    @property
    def memory_percent(self) -> float | None:
        if self.memory_bytes is None or not self.limit_bytes:
            return None
        return 100 * self.memory_bytes / self.limit_bytes


def row_of(stats: dict[str, Any]) -> Row:
    """Of one element of ``/v1/stats``."""
    usage, rates = stats["usage"], stats["rates"] or {}
    stalled = rates.get("stalled_percent") or {}
    return Row(
        id=stats["id"],
        name=printable(stats["name"]),
        cgroup=printable(stats["cgroup"]),
        frozen=stats["status"] == "frozen",
        cpu_percent=rates.get("cpu_percent"),
        throttled_percent=rates.get("throttled_percent"),
        memory_bytes=usage["memory"]["working_set_bytes"],
        limit_bytes=stats["memory_limit_bytes"],
        pids=usage["pids"]["current"],
        read_per_s=rates.get("read_bytes_per_s"),
        write_per_s=rates.get("write_bytes_per_s"),
        stalled=(stalled.get("cpu"), stalled.get("memory"), stalled.get("io")),
    )


def _largest(row: Row) -> float | None:
    known = [share for share in row.stalled if share is not None]
    return max(known) if known else None


SORTS: Final[dict[str, Callable[[Row], Any]]] = {
    "name": lambda row: row.name,
    "cpu": lambda row: row.cpu_percent,
    "throttled": lambda row: row.throttled_percent,
    "memory": lambda row: row.memory_bytes,
    "limit": lambda row: row.memory_percent,
    "tasks": lambda row: row.pids,
    "read": lambda row: row.read_per_s,
    "written": lambda row: row.write_per_s,
    "waiting": _largest,
}


@dataclass(slots=True)
class Model:
    sort: str = "cpu"
    reverse: bool = False
    tree: bool = False
    filter: str = ""
    chosen: str | None = None
    """The id of the row that keys act on."""
    _rows: list[Row] = field(default_factory=list)
    _cgroups: frozenset[str] = frozenset()
    _past: dict[str, deque[float]] = field(default_factory=dict)

    def take(self, stats: Iterable[dict[str, Any]]) -> None:
        """The figures of one more moment."""
        self._rows = [row_of(one) for one in stats]
        self._cgroups = frozenset(row.cgroup for row in self._rows)
        self._past = {row.id: self._past.get(row.id) or deque(maxlen=_PAST) for row in self._rows}
        for row in self._rows:
            self._past[row.id].append(row.cpu_percent or 0.0)

    def past(self, row: Row) -> list[float]:
        """CPU in percent, oldest first."""
        return list(self._past[row.id])

    def rows(self) -> list[Row]:
        """Those to be shown, in their order: by cgroup in the tree, else the largest first."""
        wanted = self.filter.lower()
        shown = [r for r in self._rows if wanted in r.name.lower() or wanted in r.cgroup.lower()]
        if self.tree:
            return sorted(shown, key=lambda row: row.cgroup.split("/"))
        key = SORTS[self.sort]
        if self.sort == "name":
            return sorted(shown, key=key, reverse=self.reverse)
        known = [row for row in shown if key(row) is not None]
        unknown = [row for row in shown if key(row) is None]
        known.sort(key=lambda row: (key(row), row.name), reverse=not self.reverse)
        return known + sorted(unknown, key=lambda row: row.name)

    def choice(self) -> Row | None:
        """The chosen row; the first one where that has gone."""
        rows = self.rows()
        return next((row for row in rows if row.id == self.chosen), rows[0] if rows else None)

    def move(self, by: int) -> None:
        rows = self.rows()
        if not rows:
            return
        chosen = self.choice()
        place = next(i for i, row in enumerate(rows) if row is chosen) + by
        self.chosen = rows[min(max(place, 0), len(rows) - 1)].id

    def sort_by_next(self, by: int) -> None:
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + by) % len(names)]

    def depth(self, row: Row) -> int:
        """In the tree: how many of the rows are above it."""
        parts = row.cgroup.split("/")
        return sum("/".join(parts[:n]) in self._cgroups for n in range(2, len(parts)))
