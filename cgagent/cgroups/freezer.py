"""Freezing and thawing a group: cgroup2's freezer (Linux 5.2) and v1's freezer controller.

A frozen task runs nothing until it is thawed. On cgroup2 it can be killed while frozen; on v1
a kill takes effect when it is thawed. A freeze can hang on a task in uninterruptible sleep.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Final, Literal, Protocol

from cgagent.cgroups import files
from cgagent.errors import ConflictError, DeadlineError

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["thawed", "freezing", "frozen"]
FrozenBy = Literal["self", "ancestor"]
FreezeOutcome = Literal["frozen", "withdrawn", "late"]
"""How a wish for a freeze ended: all tasks stand, somebody took it back, or time ran out."""

_FIRST_PAUSE_S: Final = 0.0002
_LAST_PAUSE_S: Final = 0.02
_LOOK_S: Final = 0.02
"""Whether the wish is still there is announced by nothing, so it is looked at this often."""


class Freezer(Protocol):
    def state(self) -> State: ...
    def frozen_by(self) -> FrozenBy | None: ...
    def hold(self, timeout_s: float) -> FreezeOutcome:
        """Ask for the freeze and wait for it. The wish stays if time runs out."""

    def freeze(self, timeout_s: float) -> None: ...
    def thaw(self, timeout_s: float) -> None: ...


class FreezerV1:
    """freezer.state: THAWED, FREEZING, FROZEN."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/freezer.state"

    def state(self) -> State:
        text = (files.read(self._path) or "THAWED").strip()
        return "frozen" if text == "FROZEN" else "freezing" if text == "FREEZING" else "thawed"

    def frozen_by(self) -> FrozenBy | None:
        directory = os.path.dirname(self._path)
        if (files.read(f"{directory}/freezer.self_freezing") or "0").strip() == "1":
            return "self"
        above = (files.read(f"{directory}/freezer.parent_freezing") or "0").strip()
        return "ancestor" if above == "1" else None

    def hold(self, timeout_s: float) -> FreezeOutcome:
        self._write("FROZEN")
        return "late" if not _poll(self._is_settled, timeout_s) else self._outcome()

    def freeze(self, timeout_s: float) -> None:
        _require_frozen(self._path, self.hold(timeout_s), lambda: self._write("THAWED"))

    def _is_settled(self) -> bool:
        if self.state() != "freezing":
            return True
        # Written again at each look: the kernel then tries again to stop tasks that were
        # forking or waking up.
        self._write("FROZEN")
        return False

    def _outcome(self) -> FreezeOutcome:
        return "frozen" if self.state() == "frozen" else "withdrawn"

    def thaw(self, timeout_s: float) -> None:
        self._write("THAWED")
        if not _poll(lambda: self.state() == "thawed", timeout_s):
            raise _too_slow(self._path, "thaw", "thaw the group above it too")

    def _write(self, value: str) -> None:
        _write(self._path, value)


class FreezerV2:
    """cgroup.freeze is the wish, `frozen` in cgroup.events whether all tasks have stopped."""

    def __init__(self, directory: str) -> None:
        self._wish = f"{directory}/cgroup.freeze"
        self._events = f"{directory}/cgroup.events"

    def state(self) -> State:
        if is_event_set(files.read(self._events), "frozen"):
            return "frozen"
        return "freezing" if _is_asked(self._wish) else "thawed"

    def frozen_by(self) -> FrozenBy | None:
        if _is_asked(self._wish):
            return "self"
        directory = os.path.dirname(os.path.dirname(self._wish))
        while os.path.exists(wish := f"{directory}/cgroup.freeze"):  # the root group has none
            if _is_asked(wish):
                return "ancestor"
            directory = os.path.dirname(directory)
        # Above what our cgroup namespace shows nothing can be asked, only be seen.
        return "ancestor" if is_event_set(files.read(self._events), "frozen") else None

    def hold(self, timeout_s: float) -> FreezeOutcome:
        _write(self._wish, "1")
        deadline = time.monotonic() + timeout_s
        while not wait_for_event(self._events, "frozen", _LOOK_S, value=True):
            if not _is_asked(self._wish):
                return "withdrawn"
            if time.monotonic() >= deadline:
                return "late"
        return "frozen" if _is_asked(self._wish) else "withdrawn"

    def freeze(self, timeout_s: float) -> None:
        _require_frozen(self._wish, self.hold(timeout_s), lambda: _write(self._wish, "0"))

    def thaw(self, timeout_s: float) -> None:
        _write(self._wish, "0")
        if not wait_for_event(self._events, "frozen", timeout_s, value=False):
            raise _too_slow(self._wish, "thaw", "thaw the group above it too")


def _is_asked(wish: str) -> bool:
    return (files.read(wish) or "0").strip() == "1"


def is_event_set(text: str | None, event: str) -> bool:
    """Whether a text of cgroup.events says 1 for an event."""
    return files.flat(text).get(event) == "1"


def wait_for_event(path: str, event: str, timeout_s: float, *, value: bool) -> bool:
    """Wait until cgroup.events has a value; the kernel announces a change by POLLPRI.

    A group that is gone counts as unpopulated and thawed.
    """
    deadline = time.monotonic() + timeout_s
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return not value
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        while is_event_set(files.read_all(descriptor), event) is not value:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            poll.poll(remaining_s * 1000)
        return True
    except OSError:  # ENODEV: removed while waiting
        if os.path.exists(path):
            raise
        return not value
    finally:
        os.close(descriptor)


def _poll(reached: Callable[[], bool], timeout_s: float) -> bool:
    """Look again and again, with growing pauses: v1 announces nothing."""
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while not reached():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _LAST_PAUSE_S)
    return True


def _write(path: str, value: str) -> None:
    try:
        files.write(path, value)
    except OSError as error:
        raise files.failure(f"{path}: cannot write {value}", error) from error


def _require_frozen(path: str, held: FreezeOutcome, thaw: Callable[[], None]) -> None:
    if held == "withdrawn":
        raise ConflictError(
            f"cgroup {os.path.dirname(path)}: it was thawed, or its tasks ended, while it was "
            "being frozen"
        )
    if held == "late":
        thaw()
        raise _too_slow(path, "freeze", "it was thawed again: look for a task in state D")


def _too_slow(path: str, what: str, advice: str) -> DeadlineError:
    return DeadlineError(f"cgroup {os.path.dirname(path)}: it did not {what} in time; {advice}")
