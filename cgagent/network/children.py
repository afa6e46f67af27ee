"""Interfaces of containers that share one of the host's: macvlan and ipvlan.

They are made inside the container's namespace and end with it; the host has no end of theirs. A
container that administers its network may rename them: they are known by an index of our choice.
"""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.network import rtmessages as rt
from cgagent.network.inside import remove, set_up
from cgagent.network.interfaces import checked_name, explained
from cgagent.network.netlink import NetlinkError
from cgagent.network.netns import in_network_of

if TYPE_CHECKING:
    from cgagent.network.netlink import Message
    from cgagent.network.rtnetlink import Route
    from cgagent.network.values import Child, Link

_DYING_S: Final = 1.0
_LOOK_AGAIN_S: Final = 0.01
_DIGITS: Final = 7
"""The hexadecimal ones at the end of a link's name, which are random, that its index has."""
_PARENTS_MAC: Final = "passthru"


def attach(route: Route, child: Child, link: Link, netns_fd: int, *, loopback: bool) -> None:
    """As `Links.attach`, of a link that is this child; `route` is the host's."""
    checked_name(link.name)
    deadline = time.monotonic() + _DYING_S
    while True:
        try:
            _attach(route, child, link, netns_fd, loopback=loopback)
            return
        except NetlinkError as e:
            if e.errno != errno.EADDRINUSE:
                raise
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"{link.mac} or {', '.join(map(str, link.addresses))} is in use by another "
                    f"container on interface {link.bridge}; choose another address"
                ) from e
        time.sleep(_LOOK_AGAIN_S)  # the namespace of one that has ended goes a little later


def _attach(route: Route, child: Child, link: Link, netns_fd: int, *, loopback: bool) -> None:
    parent = route.link(link.bridge)
    if parent is None:
        raise NotFoundError(
            f"parent interface {link.bridge} is not there: bring it back (ip link), or make the "
            "network anew with another one"
        )
    link = replace(link, mtu=min(link.mtu or parent.mtu, parent.mtu))
    try:
        route.batch(_message(child, link, parent.index, netns_fd))
    except NetlinkError as e:
        raise _explained(e, child, link) from e
    try:
        set_it_up = partial(set_up, link, loopback=loopback, carrier=parent.ready, announce=True)
        in_network_of(netns_fd, set_it_up)
    except BaseException:
        detach(link.host_name, netns_fd)
        raise


def detach(host_name: str, netns_fd: int) -> None:
    """As `Links.detach_child`."""
    in_network_of(netns_fd, partial(remove, _index(host_name)))


def _index(host_name: str) -> int:
    """Above those that the kernel gives one after the other."""
    return 1 << 30 | int(host_name[-_DIGITS:], 16)


def _message(child: Child, link: Link, parent: int, netns_fd: int) -> Message:
    modes = rt.MACVLAN_MODES if child.kind == "macvlan" else rt.IPVLAN_MODES
    if child.mode not in modes:
        raise InvalidInputError(
            f"invalid {child.kind} mode {child.mode!r}: one of {', '.join(modes)}"
        )
    more = [rt.mtu(link.mtu)]
    if child.kind == "macvlan" and child.mode != _PARENTS_MAC:  # it would be the parent's, too
        more.append(rt.mac(link.mac))
    return rt.make_child(
        link.name,
        parent,
        child.kind,
        child.mode,
        *more,
        flag=child.flag,
        index=_index(link.host_name),
        netns_fd=netns_fd,
    )


def _explained(error: NetlinkError, child: Child, link: Link) -> Exception:
    if error.errno == errno.EEXIST:
        return ConflictError(f"interface {link.name} exists already in the container's network")
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidInputError(f"MAC address {link.mac} cannot be that of an interface")
    if error.errno in (errno.EBUSY, errno.EINVAL):
        return ConflictError(
            f"interface {link.bridge} cannot be the parent of a {child.kind} in mode {child.mode}:"
            f" it is on a bridge, or shared in another way ({error})"
        )
    return explained(error, child.kind)
