"""Moving all processes of one group into another, so that none is left behind.

Both groups stand still meanwhile: nothing forks, and what arrives does not run before all have.
What is charged to the first group, memory above all, stays charged to it until it is freed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files, processes
from cgagent.cgroups.hierarchy import subgroups
from cgagent.errors import CgagentError, ConflictError, DeadlineError, NotFoundError

if TYPE_CHECKING:
    from cgagent.cgroups.group import Group

_PAUSE_S: Final = 0.002


def move(source: Group, target: Group, *, stays_frozen: bool, timeout_s: float = 10.0) -> None:
    """Move every process of `source` into `target`, which is made and has its limits already.

    With `stays_frozen` the target is left frozen. Where it fails, all are in `source` again, and
    that is frozen only if `stays_frozen`.

    Raises:
        ConflictError: there are groups below `source`, which would have to be moved as well.
        DeadlineError: a task does not stand still, or processes keep coming into `source`.
        CgagentError: the kernel refuses a process.
    """
    refuse_nested(source)
    try:
        target.freeze(timeout_s)
        with contextlib.suppress(NotFoundError):  # nothing is left in it, not even itself
            _hold(source, timeout_s)
            _move_all(source, target, timeout_s)
    except BaseException:
        with contextlib.suppress(CgagentError):
            _move_all(target, source, timeout_s)
        if not stays_frozen:
            with contextlib.suppress(CgagentError):
                source.thaw(timeout_s)
        raise
    if not stays_frozen:
        target.thaw(timeout_s)


def _hold(source: Group, timeout_s: float) -> None:
    if source.freezer_state() != "frozen":
        source.freeze(timeout_s)


def refuse_nested(group: Group) -> None:
    """Raise ConflictError for a group with others below it, in any hierarchy."""
    for directory in (*group.v1_dirs(), group.unified_dir()) if group.exists() else ():
        below = next(iter(subgroups(directory)), None) if directory else None
        if below:
            name = os.path.relpath(below, directory)
            raise ConflictError(
                f"cgroup {group.path}: group {name} is below it, made by what runs in it: its "
                "limits would be lost in a move"
            )


def _move_all(source: Group, target: Group, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while left := _move_once(source, target):
        if time.monotonic() >= deadline:
            raise DeadlineError(
                f"cgroup {source.path}: processes keep coming into it, {left[0]} the last: "
                "try again"
            )
        time.sleep(_PAUSE_S)


def _move_once(source: Group, target: Group) -> list[int]:
    """Each process in each hierarchy that it is in; returns those that were found."""
    found: list[int] = []
    for directory, wanted in _pairs(source, target):
        for pid in _pids(directory):
            with contextlib.suppress(NotFoundError):  # it has ended
                processes.join((wanted,), pid)
            found.append(pid)
    return found


def _pairs(source: Group, target: Group) -> list[tuple[str, str]]:
    """Their directories in the same hierarchies, of those that both have."""
    there = [(source.unified_dir(), target.unified_dir())]
    mounts = source.host.v1_mounts
    there += [(mount + source.path, mount + target.path) for mount in mounts]
    return [(a, b) for a, b in there if a and b and os.path.isdir(a) and os.path.isdir(b)]


def _pids(directory: str) -> list[int]:
    try:
        text = files.read(f"{directory}/cgroup.procs") or ""
    except OSError:
        return []
    return sorted(set(map(int, text.split())) - {0})
