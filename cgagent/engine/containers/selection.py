"""Which containers a listing shows: docker's filters, and how many at most.

Of one name any value is enough, but every label has to be there; of several names each holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.engine.filters import by_name, has_label
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.engine.containers.container import Container

    Holds = Callable[[Container], bool]

FILTERS: Final = (
    *("ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "label"),
    *("group", "name", "network", "publish", "since", "status", "volume"),
)
_STATES: Final = (
    *("created", "restarting", "running", "paused", "frozen", "exited", "dead", "removing"),
)
"""Docker's; frozen is our word for paused."""
_HEALTH: Final = ("starting", "healthy", "unhealthy", "none")
_SHORT_ID: Final = 4
_COSTLY: Final = re.compile(r"\)[*+?{]")
_REPEATED: Final = re.compile(r"[*+?{]")
_REPEATED_MOST: Final = 2
"""Python's expressions take exponential time where repetitions are nested, or many."""
_EVERY: Final = ("status", "exited", "before", "since")
"""With one of these a listing shows also those that do not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`last`: so many of the newest, in any state; 0: all."""

    every: bool = False
    last: int = 0
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str], *, every: bool = False, last: int = 0) -> Selection:
        """`texts` as ``NAME=VALUE``."""
        return cls(every=every, last=last, filters=by_name(texts))

    def of(
        self,
        containers: Iterable[Container],
        networks_of: Callable[[Container], Iterable[str]],
        groups_of: Callable[[Container], Iterable[str]] = lambda _: (),
    ) -> list[Container]:
        """The chosen ones, the newest first. `networks_of` gives names and ids.

        Raises:
            InvalidInputError: a filter that is none, or names a container that is not there.
        """
        found = sorted(containers, key=lambda c: -c.record.created_ns)
        tests = [
            _any(name, values, found, {"network": networks_of, "group": groups_of})
            for name, values in self.filters.items()
            if values
        ]
        every = self.every or self.last > 0 or any(name in self.filters for name in _EVERY)
        chosen = [c for c in found if (every or c.up) and all(test(c) for test in tests)]
        return chosen[: self.last] if self.last > 0 else chosen


def _any(
    name: str,
    values: tuple[str, ...],
    found: list[Container],
    names_of: Mapping[str, Callable[[Container], Iterable[str]]],
) -> Holds:
    tests = [_test(name, value, found, names_of) for value in values]
    combine = all if name in {"label", "annotation"} else any
    return lambda c: combine(test(c) for test in tests)


def _test(
    name: str,
    value: str,
    found: list[Container],
    names_of: Mapping[str, Callable[[Container], Iterable[str]]],
) -> Holds:
    if name in names_of:
        return lambda c: value in names_of[name](c)
    simple: dict[str, Holds] = {
        "id": lambda c: c.id.startswith(value),
        "name": _named_like(value),
        "label": lambda c: has_label(c.record.resolved.labels, value),
        "annotation": lambda c: has_label(c.record.config.annotations, value),
        "exited": lambda c: not c.up and str(c.record.outcome.exit_code) == value,
        "ancestor": lambda c: _is_of(c, value),
        "volume": lambda c: any(
            value in {m.source, m.destination} for m in c.record.resolved.mounts
        ),
        "is-task": lambda _: value in {"false", "0"},
    }
    if name in simple:
        return simple[name]
    return _checked_test(name, value, found)


def _checked_test(name: str, value: str, found: list[Container]) -> Holds:
    if name == "status":
        if value not in _STATES:
            raise InvalidInputError(f"invalid filter 'status={value}'")
        wanted = "paused" if value == "frozen" else value
        return lambda c: _state(c) == wanted
    if name == "health":
        if value not in _HEALTH:
            raise InvalidInputError(f"invalid filter 'health={value}'")
        return lambda c: (
            (c.record.outcome.health.status if c.record.outcome.health else "none") == value
        )
    if name in {"before", "since"}:
        made = _created(value, found)
        if name == "before":
            return lambda c: c.record.created_ns < made
        return lambda c: c.record.created_ns > made
    if name in {"publish", "expose"}:
        return _has_port(name, value)
    raise InvalidInputError(f"invalid filter '{name}'; there are {', '.join(FILTERS)}")


def _state(container: Container) -> str:
    return "paused" if container.frozen else container.record.outcome.status


def _named_like(pattern: str) -> Holds:
    text = pattern.removeprefix("/").replace("^/", "^")
    if _COSTLY.search(text) or len(_REPEATED.findall(text)) > _REPEATED_MOST:
        raise InvalidInputError(f"invalid filter 'name={text[:80]}': too many repetitions")
    try:
        expression = re.compile(text)
    except re.error:
        return lambda c: text in c.name
    return lambda c: expression.search(c.name) is not None


def _is_of(container: Container, image: str) -> bool:
    record = container.record
    digits = image.removeprefix("sha256:")
    is_id = len(digits) >= _SHORT_ID and record.image_id.removeprefix("sha256:").startswith(digits)
    return is_id or image in {record.config.image, record.config.image.partition(":")[0]}


def _created(reference: str, found: list[Container]) -> int:
    for c in found:
        if c.name == reference.removeprefix("/") or c.id.startswith(reference):
            return c.record.created_ns
    raise InvalidInputError(f"filter: no such container: {reference}")


def _has_port(name: str, value: str) -> Holds:
    port, _, protocol = value.partition("/")
    first, _, last = port.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise InvalidInputError(f"invalid filter '{name}={value}'")
    wanted = range(int(first), int(last or first) + 1)
    kind = protocol or "tcp"

    def holds(container: Container) -> bool:
        config = container.record.config
        ports = [p for p in container.record.resolved.ports if p.protocol == kind]
        if any(p.container_port in wanted or p.host_port in wanted for p in ports):
            return True
        exposed = (text.partition("/") for text in config.exposed_ports)
        return name == "expose" and any(
            p.isdecimal() and int(p) in wanted and (k or "tcp") == kind for p, _, k in exposed
        )

    return holds
