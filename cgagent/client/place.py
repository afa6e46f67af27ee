"""An agent's address, and what a user has said of agents: the environment, the context in use."""

from __future__ import annotations

import posix as os  # the C part: os itself takes 1.5 ms to be loaded

from cgagent.defaults import path_of
from cgagent.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEFAULT: Final = "default"
"""The context that there is without any."""


class Place:
    """An agent's address, and how to speak to it there."""

    __slots__ = ("address", "ca", "cert", "key", "tls", "token", "verify")

    def __init__(self, address: str) -> None:
        self.address = address
        """``unix://PATH``, ``tcp://HOST[:PORT]`` or ``ssh://[USER@]HOST[:PORT][/PATH]``."""
        self.tls = False
        self.verify = False
        """Whether the agent's certificate has to be of `ca`, or of one the system trusts."""
        self.ca = self.cert = self.key = ""
        self.token = ""

    @property
    def path(self) -> str:
        """Of the agent's socket; empty where it is none of this host's."""
        return path_of(self.address) if self.address.startswith("unix://") else ""

    def with_files(self, **files: str | None) -> None:
        """`ca`, `cert` and `key`; one that is there stands for TLS."""
        for name, path in files.items():
            if path:
                setattr(self, name, path)
                self.tls = True


def checked(name: str, address: str) -> str:
    """An address with its scheme. `name` is what has said it. Raises InvalidInputError."""
    scheme, separator, rest = address.partition("://")
    if not separator and address and (address.startswith("/") or name == "CGAGENT_SOCKET"):
        return f"unix://{address}"
    if (scheme == "unix" and rest.startswith("/")) or (scheme in {"tcp", "ssh"} and rest):
        return address
    raise InvalidInputError(
        f"{name} {address!r} must be unix:///PATH or a path, tcp://HOST:PORT, or ssh://[USER@]HOST"
    )


def host_and_port(place: Place) -> tuple[str, int]:
    """Of a ``tcp://``; docker's ports where there is none. Raises InvalidInputError."""
    rest = place.address.removeprefix("tcp://").rstrip("/")
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = rest.partition(":")
    port = port or ("2376" if place.tls else "2375")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        raise InvalidInputError(f"host {place.address!r} must be tcp://HOST[:PORT]")
    return host, int(port)


def token_in(path: str) -> str:
    """Raises InvalidInputError: there is none in the file."""
    with open(path, encoding="ascii", errors="replace") as file:
        token = file.read(4096).strip()
    if not token or any(not "!" <= letter <= "~" for letter in token):
        raise InvalidInputError(f"file {path} has no token in it; see cgagent token create")
    return token


def folder() -> str:
    """Where a user's contexts are."""
    home = environment("XDG_CONFIG_HOME") or f"{environment('HOME') or '/root'}/.config"
    return f"{home}/cgagent"


def current() -> str | None:
    """The context that `use` has chosen; None: the usual socket."""
    try:
        fd = os.open(f"{folder()}/current-context", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 256).decode("utf-8", "replace").strip() or None
    finally:
        os.close(fd)


def environment(name: str) -> str | None:
    """Posix has it as the kernel gave it; os, which decodes it, takes long to load."""
    found: bytes | None = os.environ.get(name.encode())
    return None if found is None else found.decode("utf-8", "surrogateescape")
