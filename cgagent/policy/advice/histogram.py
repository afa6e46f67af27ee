"""How often how much was used, in buckets that grow by 5 %, older samples counting less and less.

A sample loses half its weight in `half_life_s`. As in Kubernetes' vertical autoscaler nothing is
touched for that: newer samples are entered with a larger weight instead, relative to a reference.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

GROWTH: Final = 1.05
HALF_LIFE_S: Final = 24 * 3600.0
_MOST_HALVINGS: Final = 50
"""After so many the weights are brought down to a new reference, before they are too large."""
_FORGOTTEN: Final = 1e-4
"""A bucket with less of all weight is dropped."""


class Histogram:
    """Values from 0 on; all below `first` are in one bucket. Not to be shared between threads."""

    def __init__(self, first: float, half_life_s: float = HALF_LIFE_S) -> None:
        self.first = first
        self._half_life_s = half_life_s
        self._reference_s: float | None = None
        self._weights: dict[int, float] = {}
        self._scale = 1 / math.log(GROWTH)

    @property
    def is_empty(self) -> bool:
        return not self._weights

    def add(self, value: float, at_s: float, weight: float = 1.0) -> None:
        """`at_s` in Unix seconds; a clock that was set back makes no sample heavier."""
        if self._reference_s is None:
            self._reference_s = at_s
        halvings = max((at_s - self._reference_s) / self._half_life_s, 0.0)
        if halvings > _MOST_HALVINGS:
            self._refer_to(at_s, halvings)
            halvings = 0.0
        bucket = self._bucket(value)
        self._weights[bucket] = self._weights.get(bucket, 0.0) + weight * 2.0**halvings

    def _bucket(self, value: float) -> int:
        """The first bucket ends at `first`, each further one 5 % later."""
        if value <= self.first:
            return 0
        return math.ceil(math.log(value / self.first) * self._scale - 1e-9)

    def _end_of(self, bucket: int) -> float:
        return self.first * GROWTH**bucket

    def _refer_to(self, at_s: float, halvings: float) -> None:
        kept = {b: weight * 2.0**-halvings for b, weight in self._weights.items()}
        least = _FORGOTTEN * sum(kept.values())
        self._weights = {b: weight for b, weight in kept.items() if weight > least}
        self._reference_s = at_s

    def percentile(self, share: float) -> float | None:
        """The end of the bucket up to which so much of all weight is; None: nothing is known."""
        if not self._weights:
            return None
        wanted, passed = share * sum(self._weights.values()), 0.0
        for bucket in sorted(self._weights):
            passed += self._weights[bucket]
            if passed >= wanted * (1 - 1e-9):
                return self._end_of(bucket)
        return self._end_of(max(self._weights))

    def to_json(self) -> dict[str, Any]:
        """Buckets that hardly count any more are left out."""
        least = _FORGOTTEN * sum(self._weights.values())
        whole = max(self._weights.values(), default=1.0)
        return {
            "first": self.first,
            "reference_s": self._reference_s,
            "scale": whole,
            "weights": {
                str(bucket): round(weight / whole, 6)
                for bucket, weight in sorted(self._weights.items())
                if weight > least
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        made = cls(value["first"])
        made._reference_s = value["reference_s"]
        made._weights = {
            int(bucket): weight * value["scale"] for bucket, weight in value["weights"].items()
        }
        return made
