"""The hugetlb controller: a limit for each size of huge page the machine has."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

from cgagent.cgroups import amount, files
from cgagent.cgroups.changes import Write
from cgagent.cgroups.limits import Limits
from cgagent.cgroups.usage import HugePages

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS: Final = frozenset({"hugetlb_max_bytes"})


class Hugetlb:
    """What both versions share; they differ in a file name and the spelling of no limit."""

    FIELDS: ClassVar = FIELDS
    _FILE: ClassVar[str]
    _USAGE: ClassVar[tuple[str, ...]]
    """The files of what is in use, of refusals, and on v1 of the most that was in use."""
    _UNLIMITED: ClassVar[str]

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        return [
            Write(
                "hugetlb_max_bytes",
                f"{self._dir}/hugetlb.{size}.{self._FILE}",
                amount.spell(value, unlimited=self._UNLIMITED),
            )
            for size, value in limits.hugetlb_max_bytes or ()
        ]

    def held(self) -> Limits:
        pairs = []
        for size in self._sizes:
            value = amount.parse(files.read(f"{self._dir}/hugetlb.{size}.{self._FILE}"))
            pairs += [(size, value)] if value is not None else []
        return Limits(hugetlb_max_bytes=tuple(pairs) or None)

    @cached_property
    def _sizes(self) -> list[str]:
        names = os.listdir(self._dir) if os.path.isdir(self._dir) else []
        words = (name.split(".", 2) for name in sorted(names) if name.startswith("hugetlb."))
        return [size for _, size, file in words if file == self._FILE]

    def paths(self) -> Sequence[str]:
        return tuple(
            f"{self._dir}/hugetlb.{size}.{file}" for size in self._sizes for file in self._USAGE
        )

    def usage(self, texts: Sequence[str | None]) -> tuple[HugePages, ...] | None:
        left = iter(texts)
        found = [(size, [next(left) for _ in self._USAGE]) for size in self._sizes]
        return tuple(_pages(size, *read) for size, read in found if read[0] is not None) or None


class HugetlbV1(Hugetlb):
    _FILE = "limit_in_bytes"
    _USAGE = ("usage_in_bytes", "failcnt", "max_usage_in_bytes")
    _UNLIMITED = "-1"


class HugetlbV2(Hugetlb):
    _FILE = "max"
    _USAGE = ("current", "events")
    _UNLIMITED = "max"


def _pages(
    size: str, current: str | None, events: str | None, peak: str | None = None
) -> HugePages:
    return HugePages(
        size=size,
        current_bytes=int(current or 0),
        refused=_refused(events),
        peak_bytes=files.number(peak),
    )


def _refused(text: str | None) -> int | None:
    """A failcnt file has one number, an events file "max" and its number."""
    return int(text.split()[-1]) if text else None
