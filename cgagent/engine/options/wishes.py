"""What a container asks the agent to do for it by itself: checked and changed together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.options import boosts, sizes
from cgagent.engine.options.overrides import AUTO_SIZE, BUDGET
from cgagent.policy import autosize, budgets, reclaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.config import ContainerConfig


def _auto_size(text: str) -> str:
    """Raises InvalidInputError: a size that this host cannot hold, besides."""
    found = autosize.parse(text)
    if found is None:
        return ""
    for name, bounds in found.ranges.items():
        for bound in bounds:
            sizes.limits(name, bound)
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


def ended_owners(asked: dict[str, Any]) -> set[str]:
    """Whose overrides go with the wishes that are taken back."""
    found = {BUDGET} if asked.get("budget") == "" else set()
    if "auto_size" in asked:
        size = autosize.parse(asked["auto_size"])
        if size is None or size.is_dry:
            found.add(AUTO_SIZE)
    return found
