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
    _CURRENT: ClassVar[str]
    _EVENTS: ClassVar[str]
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
            f"{self._dir}/hugetlb.{size}.{file}"
            for size in self._sizes
            for file in (self._CURRENT, self._EVENTS)
        )

    def usage(self, texts: Sequence[str | None]) -> tuple[HugePages, ...] | None:
        pairs = zip(self._sizes, texts[::2], texts[1::2], strict=True)
        return (
            tuple(
                HugePages(size=size, current_bytes=int(current), refused=_refused(events))
                for size, current, events in pairs
                if current is not None
            )
            or None
        )


class HugetlbV1(Hugetlb):
    _FILE = "limit_in_bytes"
    _CURRENT = "usage_in_bytes"
    _EVENTS = "failcnt"
    _UNLIMITED = "-1"


class HugetlbV2(Hugetlb):
    _FILE = "max"
    _CURRENT = "current"
    _EVENTS = "events"
    _UNLIMITED = "max"


def _refused(text: str | None) -> int | None:
    """A failcnt file has one number, an events file "max" and its number."""
    return int(text.split()[-1]) if text else None
