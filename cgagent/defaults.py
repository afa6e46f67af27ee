"""Where the agent is found when nobody says otherwise. All that the client needs of settings."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

DEFAULT_SOCKET: Final = "/run/cgagent/cgagent.sock"


def socket_path(environ: Mapping[bytes, bytes] = posix.environ) -> str:
    """Where the client looks for the agent when no ``--host`` is given.

    posix has the environment as the kernel gave it; os, which decodes it, takes long to load.
    """
    path = environ.get(b"CGAGENT_SOCKET")
    return DEFAULT_SOCKET if path is None else path_of(path.decode("utf-8", "surrogateescape"))


def path_of(address: str) -> str:
    """The path of a socket that is written as ``unix:///PATH``, or as the path alone."""
    return address.removeprefix("unix://")
