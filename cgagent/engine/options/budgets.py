"""Which budgets a container can have."""

from __future__ import annotations

from cgagent.errors import InvalidInputError
from cgagent.policy.budgets import parse


def require_countable(text: str, network_mode: str) -> None:
    """Raises InvalidInputError: there is no network whose traffic is its own."""
    if network_mode and any(budget.resource == "net" for budget in parse(text)):
        raise InvalidInputError(
            f"budget net: with --network {network_mode} it has no network interfaces of its own "
            "whose traffic could be counted"
        )
