"""What a metric of containers is: name, type, labels, and how it is read from a sample.

The tables are beside: `cadvisor` has cAdvisor's names, `details` what it has not, `standing` what
the engine knows. Base units. A value of None is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from cgagent.metrics.samples import Sample, Standing

Described = TypeVar("Described", Sample, Standing)

Kind = Literal["counter", "gauge"]
Values = Iterable[tuple[tuple[str, ...], float | None]]

NS: Final = 10**9
"""In a second. Divided by, a figure is written as short as it is: 7 ns are 7e-09 s."""
_NO_LABELS: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Family(Generic[Described]):
    """One metric. `read` yields (values of `labels`, number) pairs for one container.

    `name` is without the "_total" that a counter's series end in. What `lasts` is shown of a
    container that has ended too: what was counted, and the most that was.
    """

    kind: Kind
    name: str
    text: str
    """What it is, with its unit."""
    source: str
    """Where it is from: the kernel's file, v1's first."""
    read: Callable[[Described], Values]
    labels: tuple[str, ...] = ()
    lasts: bool = False
    bare: bool = False
    """A counter whose series do not end in "_total", as cAdvisor calls a few."""

    @property
    def series(self) -> str:
        return f"{self.name}_total" if self.kind == "counter" and not self.bare else self.name

    @property
    def is_own(self) -> bool:
        """Whether cAdvisor has it not."""
        return self.name.startswith("cgagent_")

    @property
    def help(self) -> str:
        return f"{self.text} ({self.source})"


def _reading(value: Callable[[Sample], float | None], per: int) -> Callable[[Sample], Values]:
    if per == 1:
        return lambda sample: ((_NO_LABELS, value(sample)),)

    def read(sample: Sample) -> Values:
        number = value(sample)
        return ((_NO_LABELS, None if number is None else number / per),)

    return read


def counter(
    name: str, text: str, source: str, value: Callable[[Sample], float | None], per: int = 1
) -> Family[Sample]:
    return Family("counter", name, text, source, _reading(value, per), lasts=True)


def counters(
    name: str, text: str, source: str, read: Callable[[Sample], Values], *labels: str
) -> Family[Sample]:
    return Family("counter", name, text, source, read, labels, lasts=True)


def gauge(
    name: str, text: str, source: str, value: Callable[[Sample], float | None]
) -> Family[Sample]:
    return Family("gauge", name, text, source, _reading(value, 1))


def gauges(
    name: str, text: str, source: str, read: Callable[[Sample], Values], *labels: str
) -> Family[Sample]:
    return Family("gauge", name, text, source, read, labels)


def peak(
    name: str, text: str, source: str, value: Callable[[Sample], float | None]
) -> Family[Sample]:
    return Family("gauge", name, text, source, _reading(value, 1), lasts=True)


def bare_counters(
    name: str, text: str, source: str, read: Callable[[Sample], Values], *labels: str
) -> Family[Sample]:
    """Not called *_total, which OpenMetrics wants of a counter: there it has no type."""
    return Family("counter", name, text, source, read, labels, lasts=True, bare=True)


def alone(value: Callable[[Sample], float | None]) -> Callable[[Sample], Values]:
    """A reading without labels."""
    return _reading(value, 1)
