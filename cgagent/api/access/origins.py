"""Requests that a page in somebody's browser has made are refused.

A page of another origin is told by ``Origin`` or ``Sec-Fetch-Site``; one whose name was turned to
our address (DNS rebinding) by a ``Host`` that is no name of ours. A browser reaches a unix socket
as well where somebody forwards a port to it, ``ssh -L 9754:/run/cgagent/cgagent.sock``: clients of
the socket may call it anything in one word, or ``*.localhost``, but not by a name of the internet.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from cgagent.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.datastructures import Headers


class Origins:
    """`names` are ours beside addresses, ``localhost`` and the machine's name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(map(str.lower, ("localhost", socket.gethostname(), *names)))

    def check(self, headers: Headers, *, by_name: bool) -> None:
        """Raises DeniedError. `by_name`: the connection is one whose ``Host`` is to be checked."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise DeniedError(
                f"origin {origin[:100]!r} is another one: pages of others may not ask"
            )
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            raise DeniedError("sec-fetch-site: pages of others may not ask")
        self.check_host(headers, by_name=by_name)

    def check_host(self, headers: Headers, *, by_name: bool) -> None:
        """Raises DeniedError: it is no address, and no name of ours."""
        host = headers.get("host", "")
        name = _without_port(host).lower()
        if not by_name and (not name.strip(".").count(".") or name.endswith(".localhost")):
            return
        if name not in self._names and not _is_address(name):
            raise DeniedError(
                f"host {name[:100]!r} is no name of this agent's; use its address, or add the name "
                "to allowed-hosts in its settings"
            )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
