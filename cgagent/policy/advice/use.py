"""What is kept of how much a container has used, and the limit that follows from the most of it.

That is the most within a week, and a margin, which is as large as experience says: how much more
than ever before some window of the last week brought. Kubernetes' vertical autoscaler has 15 % for
all, Google's Autopilot 10 to 15 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from cgagent.policy.advice.histogram import Histogram
from cgagent.policy.advice.peaks import Peaks

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIB: Final = 1 << 20
_LEAST_MARGIN: Final = 0.03
_MOST_MARGIN: Final = 0.25
_UNFORESEEN: Final = 1.5
"""Times the largest excess of the last week."""
_NEW_MARGIN: Final = 0.15
"""Until there are windows to learn from."""
_LEARNED: Final = 4
_AFTER_OOM: Final = 1.2
_AFTER_OOM_BYTES: Final = 16 * _MIB


class Use:
    """Of one resource. Not to be shared between threads."""

    def __init__(self, first: float) -> None:
        """`first`: amounts up to this are not told apart."""
        self.histogram = Histogram(first)
        self.peaks = Peaks()

    def add(self, used: float, at_s: float) -> None:
        self.histogram.add(used, at_s)
        self.peaks.add(used, at_s)

    def oom(self, limit: float, at_s: float) -> None:
        """More than `limit` was wanted, nobody knows how much."""
        self.peaks.add(max(_AFTER_OOM * limit, limit + _AFTER_OOM_BYTES), at_s)

    @property
    def margin(self) -> float:
        if self.peaks.windows <= _LEARNED:
            return _NEW_MARGIN
        return min(max(_UNFORESEEN * self.peaks.excess, _LEAST_MARGIN), _MOST_MARGIN)

    def advised(self) -> float | None:
        """None: nothing is known."""
        most = self.peaks.most
        return None if most is None else most * (1 + self.margin)

    def to_json(self) -> dict[str, Any]:
        return {"histogram": self.histogram.to_json(), "peaks": self.peaks.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        made = cls(value["histogram"]["first"])
        made.histogram = Histogram.from_json(value["histogram"])
        made.peaks = Peaks.from_json(value["peaks"])
        return made


@dataclass(slots=True, kw_only=True)
class ContainerUse:
    """Of all resources of one container, over its restarts. A sample is of a minute or so."""

    memory: Use = field(default_factory=partial(Use, 1.0 * _MIB))
    """Bytes of the working set: page cache that is easily given back is none of it."""
    cpus: Use = field(default_factory=partial(Use, 0.01))
    """CPU seconds a second, on average over the time since the sample before."""
    pids: Use = field(default_factory=partial(Use, 1.0))
    reads: Use = field(default_factory=partial(Use, 65536.0))
    """Bytes a second, of all block devices."""
    writes: Use = field(default_factory=partial(Use, 65536.0))
    device: str | None = None
    """The one on which the most was done, "MAJOR:MINOR"."""
    first_s: float = 0.0
    """Of the first sample, in Unix seconds; 0: there is none."""
    last_s: float = 0.0
    samples: int = 0
    ooms: int = 0

    def sampled(self, at_s: float) -> None:
        self.first_s = self.first_s or at_s
        self.last_s = at_s
        self.samples += 1

    def to_json(self) -> dict[str, Any]:
        plain = ("device", "first_s", "last_s", "samples", "ooms")
        uses = {name: getattr(self, name).to_json() for name in RESOURCES}
        return {**uses, **{name: getattr(self, name) for name in plain}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        uses = {name: Use.from_json(value[name]) for name in RESOURCES}
        return cls(**{**value, **uses})


RESOURCES: Final = ("memory", "cpus", "pids", "reads", "writes")
