"""Making and removing a group's directories in all hierarchies."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import conf, files, processes
from cgagent.cgroups.cpuset import CpusetV1
from cgagent.cgroups.hierarchy import Layout, subgroups
from cgagent.errors import CgagentError, ConflictError, DeadlineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.cgroups.limits import Limits

_FIRST_PAUSE_S: Final = 0.001
_LAST_PAUSE_S: Final = 0.05

_IN_USE: Final = frozenset({errno.EBUSY, errno.ENOTEMPTY})
_NOT_OURS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

# Enabled when one of their limits is asked for: on demand, so that a host's root group is not
# changed for what nobody uses.
ON_DEMAND: Final = frozenset({"hugetlb", "rdma", "misc", "dmem"})


def directories(host: Layout, path: str) -> list[str]:
    """The group's directory in each hierarchy it may be in: cgroup2 first, then v1."""
    inside = path.rstrip("/")
    unified = [host.unified.mount + inside] if host.unified else []
    return [*unified, *(mount + inside for mount in host.v1_mounts)]


def missing(host: Layout, path: str) -> list[str]:
    """The directories on the way to the group, in each hierarchy, that are not there."""
    mounts = directories(host, "/")
    return [d for mount in mounts for d in _along(mount, path) if not os.path.isdir(d)]


def create(host: Layout, path: str) -> list[str]:
    """Make what is missing and return it, parents first; or raise and remove what was made.

    The v1 freezer is left out where cgroup2 has one: one task migration less at each start.
    """
    made: list[str] = []
    try:
        if host.unified:
            _make(host.unified.mount, path, made)
            processes.refuse_threaded(f"{host.unified.mount}{path}")
            enable(host, path, host.v2_controllers - ON_DEMAND)
        for mount in host.v1_mounts:
            if not _is_spare_freezer(host, mount, path):
                _make(mount, path, made)
                if _is_at(host, "cpuset", mount):
                    _fill_cpusets(mount, path)
    except (CgagentError, OSError) as error:
        left = _unmake(made)
        if isinstance(error, OSError):
            failure = files.failure(f"cgroup {path}: cannot be made", error)
            raise type(failure)(failure.message + left) from error
        raise type(error)(error.message + left) from error
    return made


def _unmake(made: list[str]) -> str:
    """Remove what was made; returns what could not be removed, for the message."""
    left = ""
    for directory in reversed(made):
        try:
            os.rmdir(directory)
        except OSError as error:
            left += f"; {directory} could not be removed again: {error.strerror}"
    return left


def _is_at(host: Layout, controller: str, mount: str) -> bool:
    place = host.placements.get(controller)
    return place is not None and place.mount == mount


def _is_spare_freezer(host: Layout, mount: str, path: str) -> bool:
    if not host.unified or not _is_at(host, "freezer", mount):
        return False
    alone = all(p.mount != mount or name == "freezer" for name, p in host.placements.items())
    return alone and os.path.exists(f"{host.unified.mount}{path}/cgroup.freeze")


def _make(mount: str, path: str, made: list[str]) -> None:
    for directory in _along(mount, path):
        try:
            os.mkdir(directory)
        except FileExistsError:
            continue
        made.append(directory)


def _along(mount: str, path: str) -> Iterable[str]:
    """The directories from the first component of a path to the whole."""
    parts = path.strip("/").split("/")
    return (f"{mount}/{'/'.join(parts[: end + 1])}" for end in range(len(parts)))


def _fill_cpusets(mount: str, path: str) -> None:
    for directory in _along(mount, path):
        CpusetV1.fill(directory)


def enable(host: Layout, path: str, controllers: frozenset[str]) -> None:
    """Enable cgroup2 controllers for the group, in each group above it.

    One that is not delegated to us is left out, and so is one above the subtree that we may
    write to: their limits are refused when asked for.

    Raises:
        ConflictError: a group above has processes of its own.
    """
    if not host.unified or not controllers:
        return
    for directory in [host.unified.mount, *_along(host.unified.mount, path)][:-1]:
        available = set((files.read(f"{directory}/cgroup.controllers") or "").split())
        control = f"{directory}/cgroup.subtree_control"
        enabled = set((files.read(control) or "").split())
        wanted = sorted((controllers & available) - enabled)
        if wanted:
            _enable(control, " ".join(f"+{name}" for name in wanted))


def enable_for(host: Layout, path: str, limits: Limits) -> None:
    """Enable those cgroup2 controllers of ON_DEMAND that these limits need."""
    needed = {conf.controller_of(name) for name, _ in limits.conf or ()}
    if limits.hugetlb_max_bytes:
        needed.add("hugetlb")
    places = host.placements
    enable(host, path, frozenset(n for n in needed if n in places and places[n].version != 1))


def _enable(control: str, value: str) -> None:
    try:
        files.write(control, value)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return
        busy = "it has processes of its own: move them into a group below it"
        advice = busy if error.errno == errno.EBUSY else ""
        raise files.failure(f"{control}: cannot write {value}", error, advice) from error


def remove(host: Layout, path: str, timeout_s: float) -> None:
    """Remove the group and all below it from every hierarchy; a missing one is fine.

    A group is busy for a moment after its last task has exited, so busy ones are tried again.

    Raises:
        ConflictError: processes are left in it.
        DeadlineError: still busy, without processes.
    """
    deadline = time.monotonic() + timeout_s
    for directory in directories(host, path):
        for group in [*subgroups(directory), directory]:
            _rmdir(group, deadline)


def remove_if_empty(host: Layout, path: str) -> bool:
    """Remove the group at once, unless something is in it; whether it is gone.

    cgroup2's directory is the last to go: with it whatever is left can still be ended.
    """
    for directory in reversed(directories(host, path)):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in _IN_USE:
                return False
            raise files.failure(f"cgroup {directory}: cannot be removed", error) from error
    return True


def prune(directories: Iterable[str]) -> None:
    """Remove those of these groups in which there is nothing, neither processes nor groups."""
    for directory in sorted(directories, key=len, reverse=True):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in _IN_USE:
                raise files.failure(f"cgroup {directory}: cannot be removed", error) from error


def _rmdir(directory: str, deadline: float) -> None:
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise files.failure(f"cgroup {directory}: cannot be removed", error) from error
            if time.monotonic() >= deadline:
                raise _still_busy(directory) from error
        else:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _LAST_PAUSE_S)


def _still_busy(directory: str) -> CgagentError:
    inside = (files.read(f"{directory}/cgroup.procs") or "").split()
    if inside:
        return ConflictError(
            f"cgroup {directory}: cannot be removed, {len(inside)} processes are in it: "
            "kill them first"
        )
    return DeadlineError(f"cgroup {directory}: cannot be removed, still busy: try again")
