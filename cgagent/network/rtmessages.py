"""The rtnetlink requests that cgagent makes: links, addresses, routes, neighbours."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from cgagent.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    attribute,
    nest,
    text,
    u8,
    u32,
)
from cgagent.network.values import IPV4, IPV6

if TYPE_CHECKING:
    from cgagent.network.values import Address, Interface

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH: Final = 28
RTM_DELNEIGH: Final = 29

IFINFO: Final = struct.Struct("=BxHiII")  # family, type, index, flags, which flags change
IFADDR: Final = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
RTMSG: Final = struct.Struct("=8BI")  # family, lengths, tos, table, protocol, scope, type, flags
_NDMSG: Final = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type

IFF_UP: Final = 1
IFF_LOWER_UP: Final = 1 << 16
LOOPBACK_INDEX: Final = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, _IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_IFALIAS, IFLA_STATS64 = 16, 18, 20, 23
_IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 26, 27, 28, 29
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER: Final = 1
_MODE: Final = 1
MACVLAN_MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES: Final = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS: Final = {"bridge": 0, "private": 1, "vepa": 2}
_IPVLAN_FLAGS: Final = 2
_IFLA_VLAN_ID: Final = 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING = 1, 5, 23
BRPORT_STATE: Final = 1
_BRPORT_MODE, _BRPORT_LEARNING, _BRPORT_UNICAST_FLOOD = 4, 8, 9
_BRPORT_MCAST_FLOOD, _BRPORT_BCAST_FLOOD, _BRPORT_ISOLATED = 27, 30, 33
_INET_CONF, _RP_FILTER, _LOOSE = 1, 8, 2
_INET6_ADDR_GEN_MODE, _NO_LINK_LOCAL = 8, 1
_SKIP_STATS: Final = 1 << 3
IFA_ADDRESS, IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD: Final = 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
_MAIN, _PROTOCOL_BOOT, _UNICAST, _ONLINK = 254, 3, 1, 4
_SCOPE_LINK: Final = 253
_POINT_TO_POINT: Final = 31
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_REACHABLE, _NTF_MASTER, _NTF_EXT_LEARNED = 2, 4, 16


def address_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _info(index: int = 0, *, up: bool | None = None) -> bytes:
    return IFINFO.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)


def make_link(name: str, kind: str, *more: bytes, data: bytes = b"", index: int = 0) -> Message:
    """Refused when there is one of this name. Not up; the alias needs `change_link`.

    `index`: its number, since kernel 3.7; 0: the next.
    """
    info = nest(IFLA_LINKINFO, text(INFO_KIND, kind), nest(INFO_DATA, data) if data else b"")
    body = _info(index) + text(IFLA_IFNAME, name) + info + b"".join(more)
    return Message(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL, f"make the {kind} {name}")


def make_child(
    name: str,
    parent: int,
    kind: str,
    mode: str,
    *more: bytes,
    flag: str = "",
    index: int,
    netns_fd: int,
) -> Message:
    """A macvlan, or an ipvlan: since kernel 3.19, ``l3s`` since 4.9, flags since 4.15."""
    if kind == "ipvlan":
        data = _u16(_MODE, IPVLAN_MODES[mode])
        data += _u16(_IPVLAN_FLAGS, IPVLAN_FLAGS[flag]) if flag else b""
    else:
        data = u32(_MODE, MACVLAN_MODES[mode])
    there = u32(_IFLA_LINK, parent) + u32(_IFLA_NET_NS_FD, netns_fd)
    return make_link(name, kind, there, *more, data=data, index=index)


def make_vlan(name: str, base: int, number: int) -> Message:
    return make_link(name, "vlan", u32(_IFLA_LINK, base), data=_u16(_IFLA_VLAN_ID, number))


def probe(kind: str) -> Message:
    """To make one of a kind that needs another interface, and has none here.

    The answer is EINVAL where the kernel knows the kind, and EOPNOTSUPP where it does not.
    """
    made = make_link("cgprobe", kind)
    return Message(made.kind, made.body, made.flags, f"make interfaces of kind {kind}")


def _u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def change_link(name: str, *more: bytes, up: bool | None = None) -> Message:
    body = _info(up=up) + text(IFLA_IFNAME, name) + b"".join(more)
    return Message(RTM_NEWLINK, body, what=f"change the interface {name}")


def delete_link(name: str) -> Message:
    return Message(
        RTM_DELLINK, _info() + text(IFLA_IFNAME, name), what=f"delete the interface {name}"
    )


def delete_index(index: int) -> Message:
    """Whatever its name is now."""
    return Message(RTM_DELLINK, _info(index), what=f"delete the interface with index {index}")


def delete_group(group: int) -> Message:
    """All interfaces of this group. Never call it with 0, which most of a host's are in."""
    return Message(RTM_DELLINK, _info() + u32(_IFLA_GROUP, group), what=f"delete group {group}")


def loopback_up() -> Message:
    return Message(RTM_NEWLINK, _info(LOOPBACK_INDEX, up=True), what="set lo up")


def mac(value: str) -> bytes:
    return attribute(IFLA_ADDRESS, address_bytes(value))


def mtu(value: int) -> bytes:
    return u32(IFLA_MTU, value)


def master(index: int) -> bytes:
    return u32(IFLA_MASTER, index)


def alias(value: str) -> bytes:
    return text(IFLA_IFALIAS, value)


def group(value: int) -> bytes:
    return u32(_IFLA_GROUP, value)


def one_queue() -> bytes:
    """In each direction, where the kernel's own choice may be one for each processor."""
    return u32(_IFLA_NUM_TX_QUEUES, 1) + u32(_IFLA_NUM_RX_QUEUES, 1)


def make_veth(
    name: str, peer: str, *more: bytes, peers: tuple[bytes, ...] = (), netns_fd: int | None = None
) -> Message:
    """A pair: `more` is of the end here, `peers` of the other one, made in this namespace at once.

    Each has one queue, where the kernel's own choice is one for each processor: they cost time to
    make, and a veth uses them for XDP alone.
    """
    queues = one_queue()
    there = b"" if netns_fd is None else u32(_IFLA_NET_NS_FD, netns_fd)
    other = _info() + text(IFLA_IFNAME, peer) + there + queues + b"".join(peers)
    return make_link(name, "veth", queues, *more, data=nest(_VETH_INFO_PEER, other))


def bridge_settings() -> bytes:
    """No spanning tree and no delay, so a port forwards at once; multicast goes to all ports.

    With snooping, a container that sends a query makes the bridge forget those who did not report,
    and IPv6 finds no neighbour there any more.
    """
    settings = u32(_BR_FORWARD_DELAY, 0), u32(_BR_STP_STATE, 0), u8(_BR_MCAST_SNOOPING, 0)
    return nest(IFLA_LINKINFO, text(INFO_KIND, "bridge"), nest(INFO_DATA, *settings))


def port_settings(*, isolated: bool = False, hairpin: bool = True, flood: bool = True) -> bytes:
    """Of an interface on a bridge; isolation since kernel 4.18."""
    settings = [u8(_BRPORT_MODE, hairpin), u8(_BRPORT_ISOLATED, isolated)]
    kinds = _BRPORT_LEARNING, _BRPORT_UNICAST_FLOOD, _BRPORT_MCAST_FLOOD, _BRPORT_BCAST_FLOOD
    settings += [u8(kind, flood) for kind in kinds]
    slave = nest(INFO_SLAVE_DATA, *settings)
    return nest(IFLA_LINKINFO, text(INFO_SLAVE_KIND, "bridge"), slave)


def families(*, loose: bool = False, no_link_local: bool = False) -> bytes:
    """`loose`: ``rp_filter`` 2, as packets of a container that is on two networks come by either.

    `no_link_local`: no IPv6 address that the interface gives itself. Refused where it has no IPv6.
    """
    parts = []
    if loose:
        parts.append(nest(socket.AF_INET, nest(_INET_CONF, u32(_RP_FILTER, _LOOSE))))
    if no_link_local:
        parts.append(nest(socket.AF_INET6, u8(_INET6_ADDR_GEN_MODE, _NO_LINK_LOCAL)))
    return nest(_IFLA_AF_SPEC, *parts)


def get_link(name: str, *, counters: bool) -> Message:
    body = _info() + text(IFLA_IFNAME, name) + u32(_IFLA_EXT_MASK, 0 if counters else _SKIP_STATS)
    return Message(RTM_GETLINK, body, what=f"look at {name}")


def dump_links() -> Message:
    body = _info() + u32(_IFLA_EXT_MASK, _SKIP_STATS)
    return Message(RTM_GETLINK, body, what="list interfaces")


def _family(address: Address | Interface) -> int:
    return socket.AF_INET if address.version == IPV4 else socket.AF_INET6


def _address(index: int, interface: Interface) -> bytes:
    head = IFADDR.pack(_family(interface), interface.network.prefixlen, 0, 0, index)
    own = interface.ip.packed
    body = head + attribute(IFA_LOCAL, own) + attribute(IFA_ADDRESS, own)
    if interface.version == IPV6:
        return body + u32(_IFA_FLAGS, _IFA_F_NODAD)
    if interface.network.prefixlen < _POINT_TO_POINT:
        body += attribute(_IFA_BROADCAST, interface.network.broadcast_address.packed)
    return body


def add_address(index: int, interface: Interface) -> Message:
    """Usable at once: nobody else is asked whether he has it (``nodad``)."""
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(RTM_NEWADDR, _address(index, interface), flags, f"add the address {interface}")


def remove_address(index: int, interface: Interface) -> Message:
    what = f"remove the address {interface}"
    return Message(RTM_DELADDR, _address(index, interface), what=what)


def default_route(index: int, gateway: Address, *, onlink: bool) -> Message:
    """`onlink`: the gateway is in none of the interface's subnets.

    An unspecified gateway is none: whom packets are for is on the interface itself.
    """
    by_itself = gateway.is_unspecified
    flags = _ONLINK if onlink and not by_itself else 0
    scope = _SCOPE_LINK if by_itself and gateway.version == IPV4 else 0
    head = RTMSG.pack(_family(gateway), 0, 0, 0, _MAIN, _PROTOCOL_BOOT, scope, _UNICAST, flags)
    by = b"" if by_itself else attribute(RTA_GATEWAY, gateway.packed)
    body = head + by + u32(RTA_OIF, index)
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(RTM_NEWROUTE, body, flags, f"add the default route by {gateway}")


def dump_addresses(family: int, index: int) -> Message:
    """Of one interface; before kernel 4.20, and where `index` is 0, of all."""
    return Message(RTM_GETADDR, IFADDR.pack(family, 0, 0, 0, index), what="list addresses")


def dump_routes(family: int) -> Message:
    return Message(RTM_GETROUTE, RTMSG.pack(family, *(0,) * 8), what="list routes")


def get_route(index: int, address: Address) -> Message:
    """How packets to this address go, by an interface if it is link-local."""
    head = RTMSG.pack(_family(address), address.max_prefixlen, *(0,) * 7)
    by = u32(RTA_OIF, index) if address.is_link_local else b""
    body = head + attribute(RTA_DST, address.packed) + by
    return Message(RTM_GETROUTE, body, what=f"find the route to {address}")


def neighbour(index: int, address: Address, mac: str, *, uncounted: bool = False) -> Message:
    """On the interface `index`, `address` is at `mac`.

    `uncounted`: the kernel looks after it as after any other, but it is not one of those that all
    network namespaces together may have (gc_thresh3, 1,024; since Linux 5.0). It goes with its
    interface alone.
    """
    flags = _NTF_EXT_LEARNED if uncounted else 0
    body = _NDMSG.pack(_family(address), index, _NUD_REACHABLE, flags, 0)
    body += attribute(_NDA_DST, address.packed) + attribute(_NDA_LLADDR, address_bytes(mac))
    return Message(RTM_NEWNEIGH, body, NLM_F_CREATE | NLM_F_REPLACE, f"tell where {address} is")


def no_neighbour(index: int, address: Address) -> Message:
    """On the interface `index`, nobody is known to be at `address`."""
    body = _NDMSG.pack(_family(address), index, 0, 0, 0) + attribute(_NDA_DST, address.packed)
    return Message(RTM_DELNEIGH, body, what=f"forget where {address} was")


def forwarding(port: int, mac: str) -> Message:
    """The bridge of this port finds `mac` there, until it sees it elsewhere."""
    body = _NDMSG.pack(socket.AF_BRIDGE, port, _NUD_REACHABLE, _NTF_MASTER, 0)
    body += attribute(_NDA_LLADDR, address_bytes(mac))
    return Message(RTM_NEWNEIGH, body, NLM_F_CREATE | NLM_F_REPLACE, f"tell where {mac} is")
