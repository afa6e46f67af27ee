"""What a container asks the agent to do for it by itself: checked and changed together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.options import boosts
from cgagent.engine.options.overrides import AUTO_SIZE, BUDGET
from cgagent.policy import budgets, reclaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.config import ContainerConfig

_CANONICAL: Final[dict[str, Callable[[str], str]]] = {
    "reclaim": reclaim.canonical,
    "boost": boosts.canonical,
    "budget": budgets.canonical,
}
OWNERS: Final = {"budget": BUDGET, "auto_size": AUTO_SIZE}
"""Whose overrides go when the wish is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Fields of a `ContainerConfig`; None: it is not spoken of. ``off`` takes one back."""

    reclaim: str | None = None
    boost: str | None = None
    budget: str | None = None

    def canonical(self) -> dict[str, Any]:
        """Those that are spoken of, as they are kept.

        Raises:
            InvalidInputError: one that is not understood.
        """
        return {n: _CANONICAL[n](text) for n, text in asdict(self).items() if text is not None}


def of(config: ContainerConfig) -> Wishes:
    return Wishes(**{name: getattr(config, name) for name in _CANONICAL})
