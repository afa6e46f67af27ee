"""The contents of a container's /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cgagent.bounds import BOUNDED
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.members import members

Mode = Literal["none", "host"]

_GATEWAY: Final = "host-gateway"


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
        UnsupportedError: an address that only a bridge network has.
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
    if address == _GATEWAY:
        raise UnsupportedError(f"add-host {text!r}: there is no bridge network yet to have one")
    return f"{name}:{_address(address.removeprefix('[').removesuffix(']'), 'add-host')}"


def _address(text: str, what: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInputError(f"invalid IP address in {what}: {text!r}") from None


def hosts(mode: Mode, hostname: str, domainname: str, lookup: NameLookup) -> str:
    """The host's own file where the network is the host's; then the user's lines."""
    if mode == "host":
        base = _read("/etc/hosts")
        base += "" if not base or base.endswith("\n") else "\n"
    else:
        names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
        base = (
            f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{names}\n"
        )
    pairs = (entry.partition(":")[::2] for entry in lookup.extra_hosts)
    return base + "".join(f"{address}\t{name}\n" for name, address in pairs)


def resolv_conf(mode: Mode, lookup: NameLookup) -> str:
    """The host's where the network is the host's, else empty: there is nobody to ask.

    What the user gave replaces the lines of its kind.
    """
    base = _read("/etc/resolv.conf") if mode == "host" else ""
    search = () if lookup.dns_search == (".",) else lookup.dns_search
    asked = {
        "nameserver": [f"nameserver {server}" for server in lookup.dns],
        "search": [f"search {' '.join(search)}"] if search else [],
        "options": [f"options {' '.join(lookup.dns_options)}"] if lookup.dns_options else [],
    }
    replaced = {kind for kind, lines in asked.items() if lines}
    if lookup.dns_search:
        replaced |= {"search", "domain"}
    if not replaced:
        return base
    kept = [line for line in base.split("\n") if line.strip() and line.split()[0] not in replaced]
    return "\n".join([*kept, *(line for lines in asked.values() for line in lines)]) + "\n"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""
