"""How a process puts itself into cgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def join_cgroup(files: Iterable[str]) -> None:
    """``tasks`` or ``cgroup.procs`` files; writing "0" moves the writer."""
    for path in files:
        with open(path, "w", encoding="ascii") as f:
            f.write("0")
