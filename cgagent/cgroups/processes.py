"""The processes of a group: which they are, joining, killing them all."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.freezer import Freezer, wait_for_event
from cgagent.cgroups.hierarchy import subgroups
from cgagent.errors import DeadlineError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAUSE_S: Final = 0.002
_FIRST_FREEZE_S: Final = 0.2

_ADVICE: Final = {
    errno.ESRCH: "there is no such process",
    errno.EBUSY: "it has groups below it with controllers of their own, and then takes no "
    "processes itself: join one of those",
}


def pids(directories: Iterable[str]) -> list[int]:
    """Process ids of the groups and all below them, in our own pid namespace, in order.

    Processes outside our pid namespace read as 0 on v1 and are left out.
    """
    found: set[int] = set()
    for directory in directories:
        for group in [*subgroups(directory), directory]:
            found.update(map(int, _procs(group).split()))
    return sorted(found - {0})


def has_any(directories: Iterable[str]) -> bool:
    """Whether `pids` would find one; it reads no more than it takes to know."""
    for directory in directories:
        for group in (directory, *subgroups(directory)):
            if set(_procs(group).split()) - {"0"}:
                return True
    return False


def _procs(group: str) -> str:
    try:
        return files.read(f"{group}/cgroup.procs") or ""
    except OSError:
        return ""


def join(directories: Iterable[str], pid: int) -> None:
    """Move a process into the group in every hierarchy.

    Raises:
        NotFoundError: no such process or no such group.
        ConflictError: a cgroup2 group with controllers enabled for those below it.
        UnsupportedError: a threaded group.
    """
    for directory in directories:
        refuse_threaded(directory)
        try:
            files.write(f"{directory}/cgroup.procs", str(pid))
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "")
            what = f"cgroup {directory}: process {pid} cannot join"
            raise files.failure(what, error, advice) from error


def refuse_threaded(directory: str) -> None:
    """Raise UnsupportedError for a group of a threaded tree.

    The kernel would let a whole process in, and then neither list nor count processes there.
    """
    kind = (files.read(f"{directory}/cgroup.type") or "").strip()
    if kind in {"threaded", "domain invalid"}:
        raise UnsupportedError(
            f"cgroup {directory}: it is {kind!r}: a threaded tree is of single threads, not "
            "of processes; choose a group outside it, whose cgroup.type is 'domain'"
        )


def why_alive(directories: list[str], pids: list[int]) -> str:
    """Why killed processes may still be there: what to look at, or the freezer that holds one."""
    for pid in pids:
        frozen = _frozen_in(pid)
        if frozen is not None and frozen not in directories:
            return (
                f"process {pid} is held by the freezer of {frozen}, which is not cgagent's; thaw "
                f"it (echo THAWED >{frozen}/freezer.state)"
            )
    return "look for a task in state D"


def _frozen_in(pid: int) -> str | None:
    """The directory in v1's freezer hierarchy that keeps a process frozen; None: none does."""
    from cgagent.cgroups.hierarchy import Layout
    from cgagent.cgroups.membership import Membership

    with contextlib.suppress(NotFoundError):  # it has ended
        for directory in Membership.of(Layout.detect(), pid).directories:
            state = files.read(f"{directory}/freezer.state")
            if state is not None and state.strip() != "THAWED":
                return _origin(directory)
    return None


def _origin(directory: str) -> str:
    """The group that was frozen: itself, or one above it."""
    while (files.read(f"{directory}/freezer.self_freezing") or "1").strip() != "1":
        directory = os.path.dirname(directory)
    return directory


def kill(path: str, directories: list[str], freezer: Freezer, timeout_s: float) -> None:
    """SIGKILL every process of a group and wait until none is left.

    Where one of its directories has cgroup.kill (cgroup2, Linux 5.14), that ends the tree at
    once. Whatever is in a v1 hierarchy only is held still and signalled one by one.

    Raises:
        DeadlineError: some are left.
        DeniedError: no privilege.
    """
    deadline = time.monotonic() + timeout_s
    for directory in directories:
        if os.path.exists(f"{directory}/cgroup.kill"):
            _kill_tree(directory, timeout_s)
    patience_s = _FIRST_FREEZE_S
    while left := pids(directories):
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineError(
                f"cgroup {path}: {len(left)} killed processes have not ended, {left[0]} among "
                f"them: {why_alive(directories, left)}"
            )
        _signal_frozen(directories, freezer, min(patience_s, remaining_s), remaining_s)
        patience_s *= 2
        time.sleep(_PAUSE_S)


def _kill_tree(unified: str, timeout_s: float) -> None:
    try:
        files.write(f"{unified}/cgroup.kill", "1")
    except OSError as error:
        raise files.failure(f"cgroup {unified}: cannot be killed", error) from error
    wait_for_event(f"{unified}/cgroup.events", "populated", timeout_s, value=False)


def _signal_frozen(
    directories: list[str], freezer: Freezer, patience_s: float, timeout_s: float
) -> None:
    """A frozen group cannot fork while we go through it.

    An unstoppable task does not save the others: those that did stop stay so meanwhile.
    """
    freezer.hold(patience_s)
    try:
        for pid in pids(directories):
            _signal(pid)
    finally:
        freezer.thaw(timeout_s)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except OSError as error:
        raise files.failure(f"process {pid}: cannot be killed", error) from error
