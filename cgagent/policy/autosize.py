"""Automatic sizes: limits that follow what a container needs, within a range it has asked for.

``memory=128m..1g,cpu=0.1..2``, with ``:dry-run`` at the end to decide and tell only. Up at once,
down in small steps while nobody waits: as Autopilot does it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from cgagent.errors import InvalidInputError
from cgagent.policy.texts import OFF, parsed_options
from cgagent.units import parse_size, show_size

Resource = Literal["memory", "cpu"]

_FORM: Final = "write memory=128m..1g,cpu=0.1..2, with :dry-run where it is only to be told, or off"
_DRY: Final = "dry-run"
_MIB: Final = 1 << 20
_LEAST: Final[dict[Resource, float]] = {"memory": 6.0 * _MIB, "cpu": 0.01}
_GRAIN: Final[dict[Resource, float]] = {"memory": float(_MIB), "cpu": 0.01}
_STEP: Final = 0.9
"""The most that is taken in one step."""
_WORTH: Final = 0.95
"""What is advised has to be so much less for a step down."""
_OVER: Final = 1.1
"""What is in use leaves so much room after a step down."""
_UP: Final = 1.2
_OOM_UP_BYTES: Final = 100 * 10**6
"""The vertical autoscaler's bump after an OOM kill: a fifth, and no less than 100 MB."""
_PAUSE_S: Final = 300.0
_LONGEST_PAUSE_S: Final = 86400.0
_CALM_S: Final = 30.0
"""After a step up the next one waits for what it brings about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoSize:
    """Least and most of each limit that is to follow what is needed."""

    ranges: dict[Resource, tuple[float, float]]
    is_dry: bool = False

    def __str__(self) -> str:
        """As it is kept, and shown."""
        digits = {"memory": ".0f", "cpu": ".12g"}
        shown = [
            f"{name}={low:{digits[name]}}..{high:{digits[name]}}"
            for name, (low, high) in self.ranges.items()
        ]
        return ",".join(shown) + (f":{_DRY}" if self.is_dry else "")


def parse(text: str) -> AutoSize | None:
    """None: it is off.

    Raises:
        InvalidInputError: it is no range of sizes.
    """
    if text in OFF:
        return None
    ranges, colon, mode = text.partition(":")
    if colon and mode != _DRY:
        raise InvalidInputError(f"auto-size {text[:80]!r}: {mode[:40]!r} is not known; {_FORM}")
    found = parsed_options(ranges, "auto-size", ("memory", "cpu"), _FORM)
    known: dict[Any, str] = dict(found)
    return AutoSize(ranges={n: _range(n, value) for n, value in known.items()}, is_dry=bool(colon))


def _range(name: Resource, text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    if not dots:
        raise InvalidInputError(f"auto-size {name}: {text[:40]!r} is no range; {_FORM}")
    bounds = _size(name, low), _size(name, high)
    if not _LEAST[name] <= bounds[0] <= bounds[1]:
        raise InvalidInputError(
            f"auto-size {name}: {text[:40]!r} must go up, from {told(name, _LEAST[name])} at least"
        )
    return bounds


def _size(name: Resource, text: str) -> float:
    if name == "memory":
        return float(parse_size(text, "auto-size: memory"))
    try:
        return float(text)
    except ValueError:
        raise InvalidInputError(f"auto-size: cpu {text[:40]!r} is not a number of CPUs") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of one resource of a container now."""

    now_s: float
    """Unix seconds."""
    limit: float | None
    """That is in force; None: there is none."""
    advised: float | None = None
    why: str = ""
    """What is advised is advised so."""
    used: float = 0.0
    strain: str = ""
    """What its tasks wait for because of the limit; empty: they do not."""


@dataclass(frozen=True, slots=True)
class Step:
    size: float
    reason: str


@dataclass(slots=True, kw_only=True)
class Sized:
    """One limit of a container. Its steps are kept before they are made."""

    name: Resource
    low: float
    high: float
    size: float | None = None
    """That it is held to; None: to none of ours so far."""
    before: float | None = None
    """Before the last step down, of which nobody knows yet whether it was too much."""
    is_applied: bool = False
    is_given_up: bool = False
    """Its user has set the limit: the agent leaves it alone until it is asked again."""
    changed_s: float = 0.0
    paused_until_s: float = 0.0
    """No step down before that."""
    pause_s: float = _PAUSE_S
    """The next pause."""
    oom_s: float = 0.0
    """The OOM kill that was made up for last."""

    def look(self, sight: Sight) -> Step | None:
        """The next step, if there is one to be made now."""
        self.changed_s = min(self.changed_s, sight.now_s)  # the clock may have been set back
        self.paused_until_s = min(self.paused_until_s, sight.now_s + self.pause_s)
        if self.is_given_up:
            return None
        if self.size is None:
            return None if sight.now_s < self.paused_until_s else self._first(sight)
        if not self.low <= self.size <= self.high:
            return self._to(sight, self.size, "it is to be in another range")
        if sight.strain:
            return self._strained(sight)
        if sight.advised is None:
            return None
        target = self._clamped(sight.advised)
        if target > self.size:
            return self._to(sight, target, sight.why)
        return self._down(sight, target)

    def oom(self, limit: float, at_s: float) -> Step | None:
        """After the kernel has ended a process because of a limit."""
        if self.is_given_up or at_s <= self.changed_s or at_s == self.oom_s:
            return None
        self.oom_s = at_s
        bumped = max(limit * _UP, limit + _OOM_UP_BYTES)
        self._pause(at_s)
        sight = Sight(now_s=at_s, limit=limit)
        what = f"the OOM killer came at {told(self.name, limit)}"
        if self.size is not None and self._clamped(bumped) <= self.size:
            self.changed_s = at_s
            return Step(self.size, f"{what}, which is the most it may have")
        return self._to(sight, bumped, what)

    def _first(self, sight: Sight) -> Step:
        limit = sight.limit
        if limit is None:
            return self._to(sight, self.high, "there was no limit: it begins with the most")
        return self._to(sight, limit, "it begins with the limit there is")

    def _strained(self, sight: Sight) -> Step | None:
        """Undo the last step down, or give more. Nothing is taken for a while, ever longer."""
        size = self.size or 0.0
        if sight.now_s < self.changed_s + _CALM_S and self.before is None:
            return None
        target = self._clamped(self.before or size * _UP)
        if target <= size:
            return None
        self._pause(sight.now_s)
        undone = " (the step before is undone)" if self.before else ""
        return self._to(sight, target, f"{sight.strain}{undone}")

    def _down(self, sight: Sight, target: float) -> Step | None:
        size = self.size or 0.0
        if self.before is not None and sight.now_s >= self.changed_s + _PAUSE_S:
            self.before, self.pause_s = None, _PAUSE_S  # the last step was not too much
        if sight.now_s < self.paused_until_s or target >= size * _WORTH:
            return None
        wanted = self._clamped(max(target, size * _STEP, sight.used * _OVER))
        if wanted >= size * _WORTH and wanted > target:
            return None  # what is in use is in the way
        step = self._to(sight, wanted, sight.why)
        self.before = size
        return step

    def failed(self, now_s: float) -> None:
        """A step that could not be made: it is begun again with the limit there is."""
        self.size, self.before, self.is_applied = self.before, None, self.before is not None
        self._pause(now_s)

    def _pause(self, now_s: float) -> None:
        self.paused_until_s = now_s + self.pause_s
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)

    def _to(self, sight: Sight, size: float, reason: str) -> Step:
        self.size, self.before = self._clamped(size), None
        self.changed_s, self.is_applied = sight.now_s, False
        held = "no limit" if sight.limit is None else told(self.name, sight.limit)
        return Step(self.size, f"{held} to {told(self.name, self.size)}: {reason}")

    def _clamped(self, size: float) -> float:
        grain = _GRAIN[self.name]
        return min(max(math.ceil(size / grain - 1e-6) * grain, self.low), self.high)

    def to_json(self) -> dict[str, Any]:
        kept = ("size", "before", "is_applied", "is_given_up", "changed_s", "paused_until_s")
        return {name: getattr(self, name) for name in (*kept, "pause_s", "oom_s")}


def told(name: Resource, size: float) -> str:
    """For people."""
    return show_size(size) if name == "memory" else f"{size:g} CPUs"
