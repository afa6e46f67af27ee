"""What bridges and links have in common: names, readiness, IPv6 on or off, deletion of several."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
import zlib
from contextlib import suppress
from ipaddress import IPv6Interface
from typing import TYPE_CHECKING, Final

from cgagent.errors import (
    ConflictError,
    DeadlineError,
    DeniedError,
    InvalidInputError,
    UnsupportedError,
)
from cgagent.network import rtmessages as rt
from cgagent.network.values import IPV4, IPV6

if TYPE_CHECKING:
    from cgagent.errors import CgagentError
    from cgagent.network.netlink import Message, NetlinkError
    from cgagent.network.rtnetlink import Route
    from cgagent.network.rtrecords import LinkRecord
    from cgagent.network.values import Address, Interface

_READY_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.0002
_NAME: Final = re.compile(r"[^\s/:%\0]+")
_NAME_MAX: Final = 15
_TAKEN: Final = frozenset((".", "..", "all", "default"))
"""The kernel refuses the first two; the others are directories of /proc/sys/net."""
_GROUPS: Final = 0x40000000
"""Far above what people give to groups of interfaces; 0 is the group of all that have no other."""
_IPV6_MTU_MIN: Final = 1280


def mac_of(address: Address) -> str:
    """Docker's: the same address has the same MAC again, so that nobody's neighbour table is stale.

    A CRC differs for any two addresses that differ in at most 32 bits in a row.
    """
    last = address.packed if address.version == IPV4 else zlib.crc32(address.packed).to_bytes(4)
    return local_mac(last)


def local_mac(last: bytes) -> str:
    """A locally administered one with these four bytes."""
    return (b"\x02\x42" + last).hex(":")


def has(version: int, addresses: tuple[Interface, ...]) -> bool:
    return any(a.version == version for a in addresses)


def with_link_local(addresses: tuple[Interface, ...], mac: str) -> tuple[Interface, ...]:
    """And the link-local one of this MAC, if there is an IPv6 address: it works at once.

    The kernel's own would send requests to all ports, and wait a second for answers.
    """
    if not has(IPV6, addresses):
        return addresses
    own = rt.address_bytes(mac)
    last = bytes((own[0] ^ 2, *own[1:3], 0xFF, 0xFE, *own[3:]))  # RFC 4291, appendix A
    prefix = b"\xfe\x80" + bytes(6)
    return (*addresses, IPv6Interface((prefix + last, 64)))


def new_host_name() -> str:
    """Of the host's end of a veth. Never used again: an old one of the name may be dying still."""
    return f"cg{secrets.randbits(44):011x}"


def checked_name(name: str) -> str:
    """It, if an interface may have this name.

    Raises:
        InvalidInputError: too long, or with a character that has a meaning.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN or len(os.fsencode(name)) > _NAME_MAX:
        raise InvalidInputError(
            f"invalid interface name {name!r}: at most 15 bytes, no spaces, none of / : %"
        )
    return name


def await_ready(
    route: Route, name: str, addresses: tuple[Interface, ...] = (), *, bridge: str | None = None
) -> LinkRecord:
    """The interface when it passes packets and takes those to these addresses, mostly at once.

    Workers of the kernel's see to both after its answer. An IPv6 address takes no packet before
    they have been there, not even where nobody is asked whether he has it too.

    Raises:
        ConflictError: the bridge that it is on is down or gone.
        DeadlineError: it does not after 5 s.
    """
    deadline = time.monotonic() + _READY_S
    index = route.index(name) or 0
    waiting = [a.ip for a in addresses if a.version == IPV6]
    while True:
        route.hasten(name)
        found = route.link(name)
        if found is not None and found.ready and all(route.takes(index, a) for a in waiting):
            return found
        if bridge is not None and not ((its := route.link(bridge)) and its.up):
            raise ConflictError(f"bridge {bridge} is down: set it up (ip link set {bridge} up)")
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"interface {name} passes no packets after {_READY_S:.0f} s: see that it is up and"
                " has a carrier (ip link)"
            )
        time.sleep(_LOOK_AGAIN_S)


def families(mtu: int, *, loose: bool = False) -> bytes:
    """That an interface gives itself no IPv6 address, where it could (`rtmessages.families`)."""
    able = mtu >= _IPV6_MTU_MIN and os.path.exists("/proc/sys/net/ipv6")
    return rt.families(loose=loose, no_link_local=able)


def set_ipv6(name: str, *, on: bool) -> None:
    """Switch IPv6 of an interface in the calling thread's namespace; never believe a router on it.

    A neighbour could otherwise announce itself as the way out (CVE-2020-10749, CVE-2020-13401).

    Raises:
        UnsupportedError: it is to be on, and the host has no IPv6; /proc/sys is read-only.
    """
    try:
        _write(name, "accept_ra", "0")
        _write(name, "disable_ipv6", "0" if on else "1")
    except FileNotFoundError:
        if on:
            raise UnsupportedError(
                f"cannot give {name} an IPv6 address: this kernel has IPv6 switched off"
                " (ipv6.disable=1), or its MTU is below 1280"
            ) from None
    except OSError as e:
        raise UnsupportedError(
            f"cannot set IPv6 of {name}: {e.strerror}: the agent must be able to write {e.filename}"
        ) from None


def announce_changes(name: str) -> None:
    """Of an interface in the calling thread's namespace, as far as the kernel can."""
    for family, key in (("ipv4", "arp_notify"), ("ipv6", "ndisc_notify")):
        with suppress(OSError):
            _write(name, key, "1", family)


def _write(name: str, key: str, value: str, family: str = "ipv6") -> None:
    file = os.open(f"/proc/sys/net/{family}/conf/{name}/{key}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)


def delete(route: Route, *names: str) -> None:
    """Those of them that are there, all in the time of one: 19 ms, with a bridge 31.

    The kernel waits for its readers once for each request, so they become a group first.
    """
    if len(names) == 1:
        _without_missing(route, [rt.delete_link(names[0])])
        return
    group = _GROUPS | secrets.randbits(29)
    moved = [rt.change_link(name, rt.group(group)) for name in names]
    if _without_missing(route, moved):
        _without_missing(route, [rt.delete_group(group)])


def _without_missing(route: Route, messages: list[Message]) -> int:
    """How many were about an interface that is there."""
    refusals = route.attempt(*messages)
    for refused in refusals:
        if refused is not None and refused.errno != errno.ENODEV:
            raise refused
    return refusals.count(None)


def explained(error: NetlinkError, kind: str) -> CgagentError:
    """Why an interface of this kind could not be made, where that says what to do about it."""
    if error.errno == errno.EOPNOTSUPP:
        return UnsupportedError(
            f"this kernel cannot {error.what}: load its module (modprobe {kind}), or use a kernel"
            f" that has it; --network host and none do without ({error.words or 'no such kind'})"
        )
    if error.errno == errno.EPERM:
        return DeniedError(f"{error}: the agent needs CAP_NET_ADMIN; --network none does without")
    return error
