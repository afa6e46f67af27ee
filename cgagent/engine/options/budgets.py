"""Which budgets a container can have."""

from __future__ import annotations

from cgagent.errors import InvalidInputError
from cgagent.policy.budgets import parse


def require_possible(text: str, network_mode: str, *, auto_remove: bool) -> None:
    """Raises InvalidInputError: no network has traffic of its own, or nothing could start again."""
    asked = parse(text)
    if auto_remove and any(budget.action == "stop" for budget in asked):
        raise InvalidInputError(
            "budget: with --rm it would be gone once it is stopped; take :freeze, or leave --rm out"
        )
    if network_mode and any(budget.resource == "net" for budget in asked):
        raise InvalidInputError(
            f"budget net: with --network {network_mode} it has no network interfaces of its own "
            "whose traffic could be counted"
        )
