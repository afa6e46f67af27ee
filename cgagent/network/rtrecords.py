"""What rtnetlink's dumps tell, as typed records."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

from cgagent.network import rtmessages as rt
from cgagent.network.netlink import attributes, number, words_of
from cgagent.network.values import Address, Counters, Interface, Subnet

_OPERSTATE_UNKNOWN, _OPERSTATE_UP = 0, 6
_PORT_FORWARDS: Final = 3
RTN_LOCAL: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRecord:
    index: int
    name: str
    up: bool
    """As was asked for; whether it works is `ready`."""
    kind: str
    """``bridge``, ``veth``; empty for a physical one."""
    alias: str
    master: int
    """The number of the bridge that it is on, else 0."""
    mac: str
    mtu: int
    ready: bool
    """It is up, has a carrier, and forwards if it is on a bridge."""
    counters: Counters | None
    """As the other end of a veth counts them; None where they were not asked for."""

    @classmethod
    def of(cls, body: bytes) -> LinkRecord:
        _, _, index, flags, _ = rt.IFINFO.unpack_from(body)
        found = attributes(body[rt.IFINFO.size :])
        info = attributes(found.get(rt.IFLA_LINKINFO, b""))
        kind = words_of(info.get(rt.INFO_KIND, b""))
        works = _works(number(found.get(rt.IFLA_OPERSTATE, b"")), flags, kind)
        if words_of(info.get(rt.INFO_SLAVE_KIND, b"")) == "bridge":
            port = attributes(info.get(rt.INFO_SLAVE_DATA, b""))
            works = works and number(port.get(rt.BRPORT_STATE, b"")) == _PORT_FORWARDS
        return cls(
            index=index,
            name=words_of(found.get(rt.IFLA_IFNAME, b"")),
            up=bool(flags & rt.IFF_UP),
            kind=kind,
            alias=words_of(found.get(rt.IFLA_IFALIAS, b"")),
            master=number(found.get(rt.IFLA_MASTER, b"")),
            mac=found.get(rt.IFLA_ADDRESS, b"").hex(":"),
            mtu=number(found.get(rt.IFLA_MTU, b"")),
            ready=works,
            counters=_counters(found.get(rt.IFLA_STATS64)),
        )


def _works(state: int, flags: int, kind: str) -> bool:
    """An ipvlan, a dummy and some drivers never say; of the others it means that they will."""
    silent = state == _OPERSTATE_UNKNOWN and kind not in ("veth", "bridge")
    return state == _OPERSTATE_UP or (silent and bool(flags & rt.IFF_LOWER_UP))


def _counters(stats: bytes | None) -> Counters | None:
    """Of ``struct rtnl_link_stats64``: what this end receives, the other one has sent."""
    if stats is None:
        return None
    pairs = [number(stats[at : at + 8]) for at in range(0, 64, 8)]
    received = dict(zip(("packets", "bytes", "errors", "drops"), pairs[0::2], strict=True))
    sent = dict(zip(("packets", "bytes", "errors", "drops"), pairs[1::2], strict=True))
    return Counters(
        **{f"sent_{key}": value for key, value in received.items()},
        **{f"received_{key}": value for key, value in sent.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRecord:
    index: int
    interface: Interface
    """The host's own address; the prefix length is that of `subnet`."""
    subnet: Subnet
    """Of a point-to-point interface the other end's."""

    @classmethod
    def of(cls, body: bytes, family: int) -> AddressRecord | None:
        """None: of another family, as a kernel without IPv6 answers."""
        its_family, prefix, _, _, index = rt.IFADDR.unpack_from(body)
        found = attributes(body[rt.IFADDR.size :])
        other = found.get(rt.IFA_ADDRESS) or found.get(rt.IFA_LOCAL)
        if its_family != family or other is None:
            return None
        own = found.get(rt.IFA_LOCAL, other)
        interface = ipaddress.ip_interface((ipaddress.ip_address(own), prefix))
        return cls(index=index, interface=interface, subnet=_subnet(other, prefix))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    destination: Subnet
    table: int
    kind: int
    """RTN_UNICAST is 1, `RTN_LOCAL` 2."""
    index: int
    """Of the interface; 0: of none or of several."""
    gateway: Address | None

    @classmethod
    def of(cls, body: bytes, family: int) -> RouteRecord | None:
        its_family, length, _, _, table, _, _, kind, _ = rt.RTMSG.unpack_from(body)
        if its_family != family:
            return None
        found = attributes(body[rt.RTMSG.size :])
        nowhere = bytes(4 if family == socket.AF_INET else 16)
        gateway = found.get(rt.RTA_GATEWAY)
        return cls(
            destination=_subnet(found.get(rt.RTA_DST, nowhere), length),
            table=number(found[rt.RTA_TABLE]) if rt.RTA_TABLE in found else table,
            kind=kind,
            index=number(found.get(rt.RTA_OIF, b"")),
            gateway=None if gateway is None else ipaddress.ip_address(gateway),
        )


def route_kind(body: bytes) -> int:
    return int(rt.RTMSG.unpack_from(body)[7])


def _subnet(address: bytes, length: int) -> Subnet:
    return ipaddress.ip_network((ipaddress.ip_address(address), length), strict=False)
