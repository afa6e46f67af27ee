"""What a ruleset is, as frozen values. `parse` makes and checks them; nothing here decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Action = Literal[
    "event",
    "webhook",
    "reclaim",
    "raise",
    "weight",
    "io_cap",
    "cpuset",
    "cpu_cap",
    "freeze",
    "restart",
    "kill",
]
SEVERITY: Final[Mapping[Action, int]] = {
    "event": 0,
    "webhook": 0,
    "reclaim": 0,
    "raise": 0,
    "weight": 0,
    "io_cap": 0,
    "cpuset": 0,
    "cpu_cap": 0,
    "freeze": 0,
    "restart": 1,
    "kill": 2,
}
"""From gentle to harsh: what takes nothing away for good, what starts anew, what ends."""
TOLD_ONCE: Final[frozenset[Action]] = frozenset({"event", "webhook"})
LASTING: Final[frozenset[Action]] = frozenset(
    {"raise", "weight", "io_cap", "cpuset", "cpu_cap", "freeze"}
)
"""Actions that are in force until they are undone."""
Most = Literal["memory", "growth", "pressure", "swap", "io", "reclaim", "cpu"]
Kind = Literal["container", "group", "cgroup", "host"]
Need = Literal["trend", "budgets", "io_latency", "cpu_list"]
"""What of facts, and of those of the host, is found out where some ruleset looks at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is looked at, and acted on: a container, a group of them, a cgroup, or the host."""

    kind: Kind
    id: str
    """A container's id, a group's name, a cgroup's path; empty for the host."""
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    """Names of the groups of containers that it is in."""
    path: str = ""
    """Of a group's cgroup."""
    mark: str = ""
    """``prefer``, ``avoid`` or ``omit``: what the target itself says, by a label or an xattr."""

    @property
    def key(self) -> str:
        """Its name among all targets."""
        return f"{self.kind}:{self.id}"

    def has(self, other: Target) -> bool:
        """Whether the other is this one, or in it: what is done to this one is done to it."""
        return self.key == other.key or (self.kind == "group" and self.name in other.groups)

    def __str__(self) -> str:
        return "the host" if self.kind == "host" else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which targets are meant; each field that is given has to fit."""

    name: str = ""
    """A pattern of containers' names."""
    label: str = ""
    """``KEY`` or ``KEY=PATTERN``, of containers, or of whole groups."""
    group: str = ""
    """A pattern of names of groups of containers: those in one, and in the groups in it."""
    whole: bool = False
    """The groups themselves, each as one, and not the containers in them."""
    cgroup: str = ""
    """A pattern of paths of the host's cgroups, those of groups of containers among them."""
    host: bool = False

    def fits(self, target: Target) -> bool:
        if target.kind == "host":
            return self.host
        if target.kind == "cgroup":
            return bool(self.cgroup) and fits_path(target.id, self.cgroup)
        if target.kind == "group":
            return self._fits_group(target)
        if self.whole or self.host or self.cgroup or not (self.name or self.label or self.group):
            return False
        in_group = not self.group or any(fnmatchcase(g, self.group) for g in target.groups)
        return in_group and self._has_label(target) and fnmatchcase(target.name, self.name or "*")

    def _fits_group(self, target: Target) -> bool:
        if self.cgroup:
            return fits_path(target.path, self.cgroup)
        named = fnmatchcase(target.name, self.group)
        return self.whole and named and self._has_label(target)

    def _has_label(self, target: Target) -> bool:
        key, separator, pattern = self.label.partition("=")
        if not key:
            return True
        value = target.labels.get(key)
        return value is not None and (not separator or fnmatchcase(value, pattern))


def fits_path(path: str, pattern: str) -> bool:
    """Part by part; ``**`` as the last part is any depth below."""
    parts, wanted = path.strip("/").split("/"), pattern.strip("/").split("/")
    if wanted[-1] == "**":
        wanted.pop()
        if len(parts) <= len(wanted):
            return False
        parts = parts[: len(wanted)]
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One figure beyond a bound for some time."""

    figure: str
    """A key of `figures.FIGURES`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    bound: float
    """In the figure's unit."""
    unit: str
    clear: float
    """Once it holds, it holds until the figure is on this side of it again."""
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """Several conditions as one, which has to hold for some time."""

    how: Literal["all", "any"]
    parts: tuple[Condition, ...]
    for_s: float = 0.0


Condition = Detector | Combined


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """Who is acted on, where that is not the target that was looked at."""

    select: Selector
    beside: Selector | None = None
    """Those that are spared altogether."""
    most: Most = "memory"
    prefer: Selector | None = None
    avoid: Selector | None = None
    at_least: float = 0.0
    """Of the figure of `most`, in its unit; who has less is no victim."""
    at_least_percent: float = 0.0
    """The least figure in percent of what the host has, where `most` is memory or swap."""
    spread: bool = False
    """Each grade is taken of all of them, one after the other, before the next one of any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    action: Action
    after_s: float = 0.0
    """How long the condition has held since the grade before was taken, or since it began."""
    for_s: float | None = None
    """The grade is undone after so many seconds, whether the condition holds or not."""
    unless: Condition | None = None
    """A condition of the watched target: while it holds the grade is not taken; where it comes to
    hold, the grade is undone, and not taken again before all is quiet."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The action's own; see `actions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    name: str
    description: str = ""
    select: Selector
    when: Condition
    against: Against | None = None
    """None: the target that was looked at itself."""
    grades: tuple[Grade, ...]
    cool_down_s: float = 15.0
    """After the last grade, and after all has been undone, nothing is done for so long."""
    clear_for_s: float = 30.0
    """For so long the condition must not hold before a grade is undone, and each one below it."""
    dry_run: bool = False

    @property
    def owner(self) -> str:
        """Of its overrides."""
        return OWNER + self.name


def selectors(rules: Ruleset) -> tuple[Selector, ...]:
    """Of all whom the ruleset looks at or acts on."""
    return (rules.select,) if rules.against is None else (rules.select, rules.against.select)


OWNER: Final = "policy."
"""What the owners of all overrides begin with that rulesets have made."""
