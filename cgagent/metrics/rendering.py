"""Text of many series that share their labels: Prometheus' text format and OpenMetrics.

prometheus-client sorts and escapes the labels of each series at each scrape, 6 us a series.
Here the text of a container is kept from one scrape to the next and made anew only when it says
something else: most containers of a full host do nothing between two scrapes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Generic

from cgagent.metrics.families import Described, Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgagent.metrics.samples import Target

LABELS: Final = ("id", "name", "image")
_NO_TEXT: Final = re.compile(r"[\ud800-\udfff]|\\u(?:d[89a-f]|005c)")
"""Bytes that are not UTF-8, and what reads like their spelling."""


class Sheet(Generic[Described]):
    """The text of some families, for each target as last seen.

    `says` has what the text depends on; it is made anew when that is no longer equal.
    """

    def __init__(
        self,
        families: tuple[Family[Described], ...],
        says: Callable[[Described], object],
        device_name: Callable[[str], str],
    ) -> None:
        self.families: tuple[Family[Described], ...] = families
        self._says: Callable[[Described], object] = says
        self._device_name = device_name
        self._kept: dict[str, tuple[object, tuple[str, ...]]] = {}

    def texts(self, described: Described) -> tuple[str, ...]:
        """Of each family; empty where it has no series."""
        says = self._says(described)
        known = self._kept.get(described.target.id)
        if known is None or known[0] != says:
            labels = _labels(described.target)
            texts = tuple("".join(self._lines(f, described, labels)) for f in self.families)
            known = self._kept[described.target.id] = says, texts
        return known[1]

    def keep_only(self, target_ids: Iterable[str]) -> None:
        for gone in self._kept.keys() - set(target_ids):
            self._kept.pop(gone, None)  # another scrape may have

    def _lines(self, family: Family[Described], described: Described, labels: str) -> Iterator[str]:
        if described.target.is_above and family.is_own:
            return
        start = f"{family.series}{labels}"
        by_device = family.labels[:1] == ("device",)
        for values, number in family.read(described):
            if number is None:
                continue
            if values:
                if by_device:
                    values = self._with_device(*values)  # noqa: PLW2901
                yield f"{start}{_more(family.labels, values)}}} {number!r}\n"
            else:
                yield f"{start}}} {number!r}\n"

    def _with_device(self, device: str, *rest: str) -> tuple[str, ...]:
        return (self._device_name(device), *rest)


def whole(family: Family[Described], texts: Iterable[str], *, openmetrics: bool) -> str:
    """A family with its heading; empty where it has no series."""
    lines = "".join(texts)
    if not lines:
        return ""
    name, kind = (
        (family.name, "unknown" if family.bare else family.kind)
        if openmetrics
        else (family.series, family.kind)
    )
    text = _escape(family.help, quotes=openmetrics)
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{lines}"


def _labels(target: Target) -> str:
    """As cAdvisor labels: `id` is the cgroup's path. Without the closing brace.

    An empty one is left out, which is the same to Prometheus.
    """
    values = (target.cgroup_path, target.name, target.image)
    pairs = (*zip(LABELS, values, strict=True), *target.labels)
    return "{" + _pairs(pair for pair in pairs if pair[1])


@lru_cache(maxsize=4096)
def _more(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    text = _pairs(pair for pair in zip(names, values, strict=True) if pair[1])
    return f",{text}" if text else ""


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(text: str, *, quotes: bool = True) -> str:
    if _NO_TEXT.search(text):
        text = _spelled(text)
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _spelled(text: str) -> str:
    """A name may be any bytes: each that is not UTF-8 is spelled in ASCII.

    So is the backslash of such a name, or of one that reads like it: no two names get one label,
    which would make a series of one sample twice.
    """
    return text.replace("\\", r"\u005c").encode(errors="backslashreplace").decode()
