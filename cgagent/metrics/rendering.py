"""Text of many series that share their labels: Prometheus' text format and OpenMetrics.

prometheus-client sorts and escapes the labels of each series at each scrape, 6 us a series.
Here the labels that all series of a container have are text once; the rest is a format string.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgagent.metrics.families import Described, Family
    from cgagent.metrics.samples import Target

_UNTYPED: Final = {"unknown": "untyped"}
LABELS: Final = ("id", "name", "image")


class Renderer:
    """Keeps the label text of each target from one scrape to the next."""

    def __init__(self, device_name: Callable[[str], str]) -> None:
        self._device_name = device_name
        self._own: dict[str, tuple[Target, str]] = {}

    def keep_only(self, target_ids: Iterable[str]) -> None:
        for gone in self._own.keys() - set(target_ids):
            self._own.pop(gone, None)  # another scrape may have

    def family(
        self, family: Family[Described], of: Iterable[Described], *, openmetrics: bool
    ) -> Iterator[str]:
        """Its lines; none where it has no series."""
        lines = self._lines(family, of)
        first = next(lines, None)
        if first is None:
            return
        name, kind = (
            (family.name, family.kind)
            if openmetrics
            else (family.series, _UNTYPED.get(family.kind, family.kind))
        )
        yield f"# HELP {name} {_escape(family.help, quotes=openmetrics)}\n# TYPE {name} {kind}\n"
        yield first
        yield from lines

    def _lines(self, family: Family[Described], of: Iterable[Described]) -> Iterator[str]:
        by_device = family.labels == ("device",)
        for described in of:
            start = f"{family.series}{self._labels(described.target)}"
            for values, number in family.read(described):
                if number is None:
                    continue
                if values:
                    if by_device:
                        values = tuple(map(self._device_name, values))  # noqa: PLW2901
                    yield f"{start}{_more(family.labels, values)}}} {number!r}\n"
                else:
                    yield f"{start}}} {number!r}\n"

    def _labels(self, target: Target) -> str:
        """As cAdvisor labels: `id` is the cgroup's path. Without the closing brace."""
        known = self._own.get(target.id)
        if known is None or known[0] is not target:
            values = (target.cgroup_path, target.name, target.image)
            text = "{" + _pairs((*zip(LABELS, values, strict=True), *target.labels))
            known = self._own[target.id] = target, text
        return known[1]


@lru_cache(maxsize=4096)
def _more(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return "," + _pairs(zip(names, values, strict=True))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(text: str, *, quotes: bool = True) -> str:
    text = text.encode(errors="backslashreplace").decode()  # a group's name may be any bytes
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text
