"""A container's status: the agent's words, and Docker's for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RUNNING: Final = frozenset({"running", "frozen"})
"""It has processes."""
UP: Final = RUNNING | {"restarting"}
"""It runs or soon will."""
_FROZEN, _PAUSED = "frozen", "paused"


def to_docker(status: str) -> str:
    """Docker says paused."""
    return _PAUSED if status == _FROZEN else status


def from_docker(status: str) -> str:
    return _FROZEN if status == _PAUSED else status
