"""Where the agent is found when nobody says otherwise. All that the client needs of settings."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEFAULT_SOCKET: Final = "/run/cgagent/cgagent.sock"


def path_of(address: str) -> str:
    """The path of a socket that is written as ``unix:///PATH``, or as the path alone."""
    return address.removeprefix("unix://")
