"""The hugetlb controller: a limit for each size of huge page the machine has."""

from __future__ import annotations

import os
from typing import ClassVar, Final

from cgagent.cgroups import amount, files
from cgagent.cgroups.changes import Write
from cgagent.cgroups.limits import Limits

FIELDS: Final = frozenset({"hugetlb_max_bytes"})


class Hugetlb:
    """What both versions share; they differ in a file name and the spelling of no limit."""

    FIELDS: ClassVar = FIELDS
    _FILE: ClassVar[str]
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
        names = os.listdir(self._dir) if os.path.isdir(self._dir) else []
        for name in sorted(names):
            kind, _, rest = name.partition(".")
            size, _, file = rest.partition(".")
            if kind == "hugetlb" and file == self._FILE:
                value = amount.parse(files.read(f"{self._dir}/{name}"))
                pairs += [(size, value)] if value is not None else []
        return Limits(hugetlb_max_bytes=tuple(pairs) or None)


class HugetlbV1(Hugetlb):
    _FILE = "limit_in_bytes"
    _UNLIMITED = "-1"


class HugetlbV2(Hugetlb):
    _FILE = "max"
    _UNLIMITED = "max"
