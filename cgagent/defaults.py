"""Where the agent is found when nobody says otherwise. All that the client needs of settings."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

DEFAULT_SOCKET: Final = "/run/cgagent/cgagent.sock"


def socket_path(environ: Mapping[str, str] = os.environ) -> str:
    """Where the client looks for the agent when no ``--host`` is given."""
    return environ.get("CGAGENT_SOCKET", DEFAULT_SOCKET)
