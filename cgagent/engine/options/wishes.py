"""What a container asks the agent to do for it by itself: checked and changed together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import Limits
from cgagent.engine.options import boosts, sizes
from cgagent.engine.options.overrides import AUTO_SIZE, BUDGET
from cgagent.errors import InvalidInputError
from cgagent.policy import autosize, budgets, reclaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.engine.containers.config import ContainerConfig
    from cgagent.engine.options.overrides import LimitOverride


def _auto_size(text: str) -> str:
    """Raises InvalidInputError: a size that this host cannot hold, besides."""
    found = autosize.parse(text)
    if found is None:
        return ""
    for name, bounds in found.ranges.items():
        for bound in bounds:
            try:
                sizes.require_possible(name, bound)
            except InvalidInputError as e:
                raise InvalidInputError(f"auto-size: {e.message}") from None
    return str(found)


_CANONICAL: Final[dict[str, Callable[[str], str]]] = {
    "reclaim": reclaim.canonical,
    "boost": boosts.canonical,
    "budget": budgets.canonical,
    "auto_size": _auto_size,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Fields of a `ContainerConfig`; None: it is not spoken of. ``off`` takes one back."""

    reclaim: str | None = None
    boost: str | None = None
    budget: str | None = None
    auto_size: str | None = None

    def canonical(self) -> dict[str, Any]:
        """Those that are spoken of, as they are kept.

        Raises:
            InvalidInputError: one that is not understood.
        """
        return {n: _CANONICAL[n](text) for n, text in asdict(self).items() if text is not None}


def of(config: ContainerConfig) -> Wishes:
    return Wishes(**{name: getattr(config, name) for name in _CANONICAL})


def left_of(overrides: Iterable[LimitOverride], asked: dict[str, Any]) -> tuple[LimitOverride, ...]:
    """What is left of them without those of the wishes that are taken back."""
    found = []
    for override in overrides:
        if override.owner == BUDGET and asked.get("budget") == "":
            continue
        if override.owner == AUTO_SIZE and "auto_size" in asked:
            names = _sized(asked["auto_size"])
            left = {name: value for name, value in override.limits if name in names}
            if left:
                found.append(replace(override, limits=Limits(**left)))
        else:
            found.append(override)
    return tuple(found)


def _sized(text: str) -> frozenset[str]:
    """The limits that are to follow what is needed."""
    size = autosize.parse(text)
    ranges = () if size is None or size.is_dry else tuple(size.ranges)
    return frozenset[str]().union(*(sizes.NAMES[name] for name in ranges))
