"""How much memory to take back from a container that does not need it: steps steered by stalls.

As senpai and TMO do: every few seconds a small part of what is in use, less the nearer the time
that tasks wait for memory comes to what is allowed. As long as nobody notices the part grows; at
a stall, or when what was taken comes back, it is small again and nothing is taken for a while.

What a kernel takes back is not what it is asked for: it takes some pages at least, and on v1 goes
some MiB too far. So what is due is summed up until it is worth a step, and what was too much is
waited out.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from cgagent.errors import InvalidInputError

AUTO: Final = "auto"
OFF: Final = ""
_USUAL_PERCENT: Final = 0.1
"""Of the time some task may wait for memory; TMO's threshold."""
_TEXT: Final = re.compile(r"auto(?::psi=(\d{1,2}(?:\.\d{1,4})?)%?)?")

INTERVAL_S: Final = 6.0
"""TMO's and senpai's."""
_SMALLEST: Final = 0.0005
"""TMO's part of what is in use."""
_LARGEST: Final = 0.01
"""senpai's most in one step."""
_GROWTH: Final = 1.5
LEAST_BYTES: Final = 128 << 10
"""The kernel reclaims 32 pages at least."""
LEAST_BYTES_V1: Final = 4 << 20
"""A step of less goes too far by more than it is."""
_SPARED_BYTES: Final = 4 << 20
_PAUSE_STEPS: Final = 4
_LONGEST_PAUSE: Final = 40
_LOOKS: Final = 10
"""A minute of steps: in each something cold may be wanted by chance."""
_CAME_BACK: Final = 0.5
"""The part of what was taken in that time that may come back in it."""
_UNNOTICED: Final = 0.05
"""Of what is in use: so much may come back in any case."""
_PAGE: Final = 4096
_SCARCE_SWAP: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one container. Counters since its group was made; None: this kernel does not count it."""

    current_bytes: int
    file_bytes: int
    """Page cache on its lists: what is in tmpfs is not."""
    waited_ns: int | None
    """Time in which some task waited for memory."""
    refaults: int | None
    """Pages that came back after they had been evicted."""
    protected_bytes: int = 0
    swap_free: float = 0.0
    """The part of the swap it may use that is free; 0: there is none."""
    files_alone: bool = True
    """Page cache can be taken without what is anonymous: v1 cannot where there is swap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do now."""

    amount_bytes: int
    """0: nothing."""
    may_swap: bool
    reason: str


def threshold(text: str) -> float | None:
    """Percent of the time, of ``auto`` or ``auto:psi=0.1%``; None: it is off.

    Raises:
        InvalidInputError: it is neither, nor ``off``.
    """
    if text in {OFF, "off"}:
        return None
    found = _TEXT.fullmatch(text)
    percent = float(found[1] or _USUAL_PERCENT) if found else 0.0
    if percent <= 0:
        raise InvalidInputError(
            f"reclaim {text[:40]!r} is neither off nor auto; write auto, or auto:psi=0.1% for "
            "the part of the time that tasks may wait for memory"
        )
    return percent


def canonical(text: str) -> str:
    """As it is kept. Raises InvalidInputError."""
    percent = threshold(text)
    return OFF if percent is None else f"{AUTO}:psi={percent:g}%"


class Reclaimer:
    """Of one container on one kernel; times are seconds of a monotonic clock."""

    def __init__(self, percent: float, *, least_bytes: int = LEAST_BYTES) -> None:
        """`least_bytes`: of one step."""
        self.percent = percent
        self._least_bytes = least_bytes
        self.part = _SMALLEST
        """Of what is in use, in the next step where nothing waits."""
        self.waited_percent: float | None = None
        """Since the step before."""
        self._last: Figures | None = None
        self._last_s = 0.0
        self._pause = 0
        """Steps that are left out."""
        self._next_pause = _PAUSE_STEPS
        self._due_bytes = 0
        """What steps have not taken yet; below 0: they have taken too much."""
        self._taken_bytes = 0
        self._seen: deque[tuple[int, int]] = deque(maxlen=_LOOKS)
        """What was taken before each of the last looks, and what had come back by then."""

    @property
    def is_backing_off(self) -> bool:
        return self._pause > 0

    def step(self, now_s: float, figures: Figures) -> Step:
        """What to take now; `taken` is told what came of it."""
        last, passed_s = self._last, now_s - self._last_s
        self._last, self._last_s = figures, now_s
        if last is None or passed_s <= 0:
            return _nothing("the first look")
        self.waited_percent = _percent(last.waited_ns, figures.waited_ns, passed_s)
        self._seen.append((self._taken_bytes, _grown(last.refaults, figures.refaults) * _PAGE))
        self._taken_bytes = 0
        if self.waited_percent is not None and self.waited_percent >= self.percent:
            return self._back_off(f"tasks waited for memory {self.waited_percent:.3g}% of the time")
        taken, came_back = map(sum, zip(*self._seen, strict=True))
        if taken and came_back > max(taken * _CAME_BACK, figures.current_bytes * _UNNOTICED):
            return self._back_off(f"{came_back} bytes came back while {taken} were taken")
        if self._pause:
            self._pause -= 1
            return _nothing("it backs off")
        return self._next(figures)

    def taken(self, amount_bytes: int) -> None:
        """So much less was in use after the step."""
        self._taken_bytes = amount_bytes
        self._due_bytes = min(self._due_bytes - amount_bytes, 0)

    def _back_off(self, reason: str) -> Step:
        self.part = _SMALLEST
        self._seen.clear()
        if not self._pause:
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
        return _nothing(reason)

    def _next(self, figures: Figures) -> Step:
        may_swap = figures.swap_free >= _SCARCE_SWAP
        if not may_swap and not figures.files_alone:
            return _nothing("little swap is free, and cgroup v1 would use it")
        within = figures.current_bytes if may_swap else figures.file_bytes
        room = figures.current_bytes - max(figures.protected_bytes, _SPARED_BYTES)
        if min(room, within) < self._least_bytes:
            return _nothing("nothing is left that could be taken")
        calm = 1 - (self.waited_percent or 0.0) / self.percent
        self._due_bytes += int(within * self.part * calm)
        self.part = min(self.part * _GROWTH, _LARGEST)
        if self.part == _LARGEST:
            self._next_pause = _PAUSE_STEPS  # it has been calm for long
        if self._due_bytes < self._least_bytes:
            return _nothing("less is due than the kernel takes in a step")
        amount = min(self._due_bytes, room, within)
        return Step(amount_bytes=amount, may_swap=may_swap, reason="")


def _nothing(reason: str) -> Step:
    return Step(amount_bytes=0, may_swap=False, reason=reason)


def _percent(before: int | None, after: int | None, passed_s: float) -> float | None:
    if before is None or after is None:
        return None
    return max(after - before, 0) / 1e9 / passed_s * 100


def _grown(before: int | None, after: int | None) -> int:
    return 0 if before is None or after is None else max(after - before, 0)
