"""A container's status: the agent's words, and Docker's for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RUNNING: Final = frozenset({"running", "frozen"})
"""It has processes."""
UP: Final = RUNNING | {"restarting"}
"""It runs or soon will."""


def to_docker(status: str) -> str:
    """Docker says paused."""
    return "paused" if status == "frozen" else status
