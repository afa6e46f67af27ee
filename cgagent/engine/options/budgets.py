"""Which budgets a container, or a group, can have."""

from __future__ import annotations

from cgagent.errors import InvalidInputError
from cgagent.policy.budgets import canonical, parse


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


def of_group(text: str) -> str:
    """As it is kept. Raises InvalidInputError: it is none, or no group can have it."""
    if any(b.resource == "net" and b.action == "throttle" for b in parse(text)):
        raise InvalidInputError(
            "budget net: a group has no network interfaces that could be throttled; take :freeze "
            "or :stop, or give each of its containers a budget"
        )
    return canonical(text)
