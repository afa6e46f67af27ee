"""The contents of a container's /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cgagent.bounds import BOUNDED
from cgagent.errors import InvalidInputError
from cgagent.members import members
from cgagent.network.names import redirection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.network.values import Address

Mode = Literal["none", "host", "bridge", "names"]
"""Whose network a container has: one with nobody else in it, the host's, one of the agent's.

In the last kind of those, names of containers are answered as well.
"""

GATEWAY: Final = "host-gateway"
"""Instead of an address in ``--add-host``: the host's own, as the container reaches it."""
_LOOPBACK: Final = ipaddress.IPv4Address("127.0.0.1")
_STUB: Final = "/run/systemd/resolve/resolv.conf"
"""systemd-resolved's servers: /etc/resolv.conf may name its own address of the loopback only."""


_Texts = Annotated[tuple[str, ...], BOUNDED]


@dataclass(frozen=True, kw_only=True)
class NameLookup:
    """What the user wants names to be looked up with, beside what the network has."""

    extra_hosts: _Texts = ()
    """``NAME:ADDRESS``"""
    dns: _Texts = ()
    dns_search: _Texts = ()
    """A single ``.``: no search domains at all."""
    dns_options: _Texts = ()


def alone(lookup: NameLookup) -> NameLookup:
    """It, of something that is more than that."""
    return NameLookup(**members(NameLookup, lookup))


def checked_hosts(lookup: NameLookup) -> tuple[str, ...]:
    """Its `extra_hosts` in one spelling; the other fields are checked as well.

    Raises:
        InvalidInputError: an address that is none, a text that would be more than one line.
    """
    for server in lookup.dns:
        _address(server, "DNS server")
    for text in (*lookup.dns_search, *lookup.dns_options):
        if not text or any(c.isspace() or c == "\0" for c in text):
            raise InvalidInputError(f"DNS domain or option {text!r} is not one word")
    return tuple(map(_host, lookup.extra_hosts))


def _host(text: str) -> str:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS``, an IPv6 address perhaps in brackets."""
    separator = min((text.find(s) for s in ":=" if s in text), default=-1)
    name, address = text[:separator], text[separator + 1 :]
    if separator < 1 or not address or any(c.isspace() or c == "\0" for c in name):
        raise InvalidInputError(f"bad format for add-host: {text!r}; write NAME:ADDRESS")
    if address == GATEWAY:
        return f"{name}:{address}"
    return f"{name}:{_address(address.removeprefix('[').removesuffix(']'), 'add-host')}"


def _address(text: str, what: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInputError(f"invalid IP address in {what}: {text!r}") from None


def hosts(
    mode: Mode,
    hostname: str,
    domainname: str,
    lookup: NameLookup,
    addresses: Sequence[Address] = (),
    *,
    linked: Sequence[tuple[Address, str]] = (),
    gateway: Address | None = None,
) -> str:
    """The host's own file where the network is the host's; then `linked`, and the user's lines.

    `addresses` are the container's, and `gateway` is the host's as it sees it: neither is known
    before the container is in its networks, and lines that need it are left out.
    """
    if mode == "host":
        base = _read("/etc/hosts")
        base += "" if not base or base.endswith("\n") else "\n"
    else:
        names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
        own = ("127.0.1.1",) if mode == "none" else addresses
        base = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        base += "".join(f"{address}\t{names}\n" for address in own)
    if mode == "host":
        gateway = _LOOPBACK
    base += "".join(f"{address}\t{name}\n" for address, name in linked)
    pairs = [entry.partition(":")[::2] for entry in lookup.extra_hosts]
    lines = [(gateway if address == GATEWAY else address, name) for name, address in pairs]
    return base + "".join(f"{address}\t{name}\n" for address, name in lines if address)


def resolv_conf(mode: Mode, lookup: NameLookup) -> str:
    """The host's, in another network than the host's without servers that only the host reaches.

    It is empty where there is nobody to ask. What the user gave replaces the lines of its kind.
    """
    if mode == "names":
        return _answered_here(lookup)
    base = {"none": lambda: "", "host": lambda: _read("/etc/resolv.conf"), "bridge": _reachable}
    search = () if lookup.dns_search == (".",) else lookup.dns_search
    asked = {
        "nameserver": [f"nameserver {server}" for server in lookup.dns],
        "search": [f"search {' '.join(search)}"] if search else [],
        "options": [f"options {' '.join(lookup.dns_options)}"] if lookup.dns_options else [],
    }
    text = base[mode]()
    replaced = {kind for kind, lines in asked.items() if lines}
    if lookup.dns_search:
        replaced |= {"search", "domain"}
    if not replaced:
        return text
    kept = [line for line in text.split("\n") if line.strip() and line.split()[0] not in replaced]
    return "\n".join([*kept, *(line for lines in asked.values() for line in lines)]) + "\n"


def _answered_here(lookup: NameLookup) -> str:
    """Of a container in whose network namespace names are answered; `dns` is asked from there."""
    found = [line for line in _reachable().split("\n") if line.startswith(("search", "domain"))]
    if lookup.dns_search:
        search = () if lookup.dns_search == (".",) else lookup.dns_search
        found = [f"search {' '.join(search)}"] if search else []
    options = lookup.dns_options
    if not any(option.startswith("ndots:") for option in options):
        options = (*options, "ndots:0")  # a container's name comes before a domain of the host's
    return (
        "\n".join([f"nameserver {redirection.ADDRESS}", *found, f"options {' '.join(options)}"])
        + "\n"
    )


def _reachable() -> str:
    """The host's, without servers on its loopback; systemd-resolved's file if none is left."""
    lines: list[str] = []
    for path in ("/etc/resolv.conf", _STUB):
        found = _read(path).rstrip("\n").split("\n")
        lines = [line for line in found if line and not _is_on_loopback(line)]
        if any(line.startswith("nameserver") for line in lines):
            break
    return "".join(f"{line}\n" for line in lines)


def _is_on_loopback(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":  # noqa: PLR2004 - the word and an address
        return False
    try:
        return ipaddress.ip_address(words[1].partition("%")[0]).is_loopback
    except ValueError:
        return False


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""
