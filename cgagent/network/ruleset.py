"""The text of table ``inet cgagent``: rules that never change, sets and maps that have the state.

    prerouting -300   loopback addresses from outside are dropped: a port that is published on
                      127.0.0.1 is this host's alone
    prerouting -100   a published port of an address of this host's becomes a container's
    output -100       and the same for connections of this host's own
    forward -10       what some containers send gets their priority
    forward 0         what goes to a bridge of ours is an answer, or came by a published port
    postrouting 100   what would be answered past this host, or leaves it, has its address

A bridge is an element of four sets, a published port one of one map, where the kernel counts the
connections that it leads on. Interfaces are named, not numbered, so that rules are there before
their bridges and hold when one is made anew.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cgagent.network.values import Address, Bridge, Publication

NUMBER_OF: Final = {"tcp": 6, "udp": 17, "sctp": 132}
"""Numbers, because libnftables looks names up in /etc/protocols, which may be missing."""

DROPS: Final = ("loopback", "internal", "unasked", "invalid")
"""Counters of what is dropped: packets to or from 127.0.0.0/8 that came from outside; into and out
of an internal network; to a container, neither an answer nor to a port that is published, members
of a network without communication between them included; of no connection that is known."""

_INTERFACE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")

_RULES: Final = """
set bridges {{ type ifname; }}
set internal {{ type ifname; }}
set masquerading {{ type ifname; }}
map same {{ type ifname . ifname : verdict; }}
map port4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; counter; }}
map port6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; counter; }}
map addrport4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; counter; }}
map addrport6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; counter; }}
map priority4 {{ type ipv4_addr : classid; }}
map priority6 {{ type ipv6_addr : classid; }}
counter loopback {{ }}
counter internal {{ }}
counter unasked {{ }}
counter invalid {{ }}

chain raw {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 counter name loopback drop comment "{mark}"
    iifname @bridges ip saddr 127.0.0.0/8 counter name loopback drop
}}
chain published {{
    ip6 daddr ::1 return
    dnat ip to ip daddr . meta l4proto . th dport map @addrport4
    dnat ip to meta l4proto . th dport map @port4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @addrport6
    dnat ip6 to meta l4proto . th dport map @port6
}}
chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump published
}}
chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
}}
chain entering {{
    ct state established,related accept
    ct status dnat accept
    counter name unasked drop
}}
chain ranking {{
    type filter hook forward priority -10; policy accept;
    meta priority set ip saddr map @priority4
    meta priority set ip6 saddr map @priority6
}}
chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname . oifname vmap @same
    iifname @internal counter name internal drop
    oifname @internal counter name internal drop
    oifname @bridges goto entering
    iifname @bridges ct state invalid counter name invalid drop
}}
chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    oifname @bridges ct status dnat iifname @bridges masquerade
    oifname @bridges ct status dnat meta iif 0 masquerade
    oifname != @bridges iifname @masquerading masquerade
}}
"""
# Answers to a hairpin's or this host's own connection must come back here to have their address
# changed, hence the first two masquerade rules; "iif 0" is this host itself, and with br_netfilter
# what passes from one port of a bridge to another.
# The kernel drops ::1 where it leaves the loopback interface: a destination cannot be changed.
# An invalid packet of a container's would leave with the container's address, as NAT skips it.


@dataclass(frozen=True, slots=True)
class Element:
    """A member of a set or map."""

    set: str
    key: str
    value: str = ""

    @property
    def text(self) -> str:
        return f"{self.key} : {self.value}" if self.value else self.key


def constant(table: str, mark: str) -> str:
    """Commands that make the table anew, whatever is there; the first rule carries `mark`."""
    rules = _RULES.format(mark=mark)
    return f"add table inet {table}\ndelete table inet {table}\ntable inet {table} {{{rules}}}\n"


def gone(table: str) -> str:
    """Commands after which the table is not there, whether it was or not."""
    return f"add table inet {table}\ndelete table inet {table}\n"


def added(table: str, elements: Iterable[Element]) -> str:
    return _commands("add", table, ((e.set, e.text) for e in elements))


def deleted(table: str, elements: Iterable[Element]) -> str:
    return _commands("delete", table, ((e.set, e.key) for e in elements))


def _commands(verb: str, table: str, members: Iterable[tuple[str, str]]) -> str:
    by_set: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in members:
        by_set[name].append(text)
    return "".join(
        f"{verb} element inet {table} {name} {{ {', '.join(texts)} }}\n"
        for name, texts in by_set.items()
    )


def of_bridge(bridge: Bridge) -> Collection[Element]:
    """Raises InvalidInputError: a name that nft would read as something else."""
    if not _INTERFACE_NAME.fullmatch(bridge.name):
        raise InvalidInputError(
            f"bridge {bridge.name!r}: an interface's name has at most 15 letters, digits, "
            "'_', '.' and '-', and begins with a letter, a digit or '_'"
        )
    name = f'"{bridge.name}"'
    verdict = "goto entering" if bridge.isolated else "accept"
    elements = [Element("bridges", name), Element("same", f"{name} . {name}", verdict)]
    if bridge.internal:
        elements.append(Element("internal", name))
    elif bridge.masquerade:
        elements.append(Element("masquerading", name))
    return elements


def of_priority(address: Address, priority: int) -> Element:
    """It is written as a class of tc's: two halves, hexadecimal."""
    value = f"{priority >> 16:x}:{priority & 0xFFFF:x}"
    return Element(f"priority{address.version}", str(address), value)


def raw_key(publication: Publication) -> tuple[str, bytes]:
    """The map that a published port is in, and its key as the kernel lists it: padded fields."""
    host = publication.host
    protocol = bytes((NUMBER_OF[publication.protocol], 0, 0, 0))
    port = publication.host_port.to_bytes(2) + bytes(2)
    if host is None or host.is_unspecified:
        return f"port{publication.container.version}", protocol + port
    return f"addrport{host.version}", host.packed + protocol + port


def of_publication(publication: Publication) -> Element:
    """Raises UnsupportedError: it is on ::1."""
    host = publication.host
    family = publication.container.version
    key = f"{NUMBER_OF[publication.protocol]} . {publication.host_port}"
    name = f"port{family}"
    if host is not None and not host.is_unspecified:
        if isinstance(host, IPv6Address) and host.is_loopback:
            raise UnsupportedError(
                f"port [::1]:{publication.host_port}/{publication.protocol}: the kernel cannot "
                "translate connections to ::1; publish it on 127.0.0.1"
            )
        key = f"{host} . {key}"
        name = f"addr{name}"
    return Element(name, key, f"{publication.container} . {publication.container_port}")
