"""Rates of containers' links, in wire bits a second: what frames have with their Ethernet headers.

Both directions are limited on the host's side, out of the container's reach whatever it may do
in its own network:

    to the container      a token bucket on the host's end of the link
    from it               all that the host's end receives is led to an interface of kind ifb, which
                          does nothing but send it back to where it came from; its bucket limits it

An ifb has its link's name with another beginning, and goes when the link is detached.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.cgroups.amount import UNLIMITED, Unlimited
from cgagent.errors import NotFoundError, UnsupportedError
from cgagent.network import rtmessages as rt
from cgagent.network import tcmessages as tc
from cgagent.network.interfaces import families
from cgagent.network.netlink import NetlinkError

if TYPE_CHECKING:
    from cgagent.network.netlink import Message
    from cgagent.network.rtnetlink import Route
    from cgagent.network.rtrecords import LinkRecord
    from cgagent.network.values import FoundLink

_LINK, _IFB = "cg", "cgr"
_BURST_S: Final = 0.03
"""A bucket that is full loses what comes in: it must last while a busy host's timers are late."""
_BURST_FRAMES: Final = 2
_BURST_LOG2_MAX: Final = 30
_QUEUE_S: Final = 0.05
_QUEUE_FRAMES: Final = 16
_QUEUE_MAX: Final = 1 << 31
_ETHERNET_HEADER: Final = 18
"""With a VLAN's tag."""
_MISSING: Final = (errno.ENOENT, errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Wire bits a second, as the container sees it; None: as it is."""

    incoming: int | Unlimited | None = None
    outgoing: int | Unlimited | None = None


def ifb_of(host_name: str) -> str:
    """The name of the interface that limits what the container of this link sends."""
    return _IFB + host_name.removeprefix(_LINK)


def owner_of(found: FoundLink) -> str:
    """The name of what goes together with it: of an ifb its link's, else its own."""
    return _LINK + found.name.removeprefix(_IFB) if found.kind == "ifb" else found.name


def limit(route: Route, host_name: str, rates: Rates) -> None:
    """Hold a link to these rates, whatever it was held to; the kernel's queues go on.

    A link that is gone is no error: its container may delete it at any time, and must not keep
    others of its links from their limits so.

    Raises:
        UnsupportedError: the kernel lacks what it takes; names the module.
    """
    link = route.link(host_name)
    if link is None:
        return
    try:
        if rates.incoming is not None:
            _limit_sent(route, link, rates.incoming)
        if isinstance(rates.outgoing, Unlimited):
            _receive_freely(route, link)
        elif rates.outgoing is not None:
            _limit_received(route, link, rates.outgoing)
    except NetlinkError as e:
        if route.link(host_name) is None:  # it goes just now
            _unless_gone(route, rt.delete_link(ifb_of(host_name)))
            return
        if e.errno in _MISSING:
            raise UnsupportedError(
                f"this kernel cannot {e.what}: load the module, or use a kernel that has it; rates "
                "of networks need sch_tbf, and those of what containers send sch_ingress, "
                "cls_u32, act_mirred and ifb"
            ) from e
        raise


def _limit_sent(route: Route, link: LinkRecord, rate: int | Unlimited) -> None:
    if isinstance(rate, Unlimited):
        _unless_gone(route, tc.delete_root(link.index))
        return
    bucket = _bucket(link, rate)
    (refused,) = route.attempt(bucket)
    if refused is not None:  # somebody has put another kind in its place
        _unless_gone(route, tc.delete_root(link.index))
        route.batch(bucket)


def _bucket(link: LinkRecord, rate: int) -> Message:
    each_s = rate // 8
    frame = link.mtu + _ETHERNET_HEADER
    burst = max(int(each_s * _BURST_S), _BURST_FRAMES * frame)
    burst_log2 = min(burst.bit_length(), _BURST_LOG2_MAX)
    queue = max(int(each_s * _QUEUE_S) + (1 << burst_log2), _QUEUE_FRAMES * frame)
    return tc.set_bucket(link.index, each_s, burst_log2, min(queue, _QUEUE_MAX))


def _limit_received(route: Route, link: LinkRecord, rate: int) -> None:
    ifb = route.link(ifb_of(link.name))
    if ifb is None or not ifb.up:
        ifb = _made(route, link)
    _limit_sent(route, ifb, rate)
    if not _leads_to(route, link, ifb.index):
        try:
            _unless_gone(route, tc.delete_filters(link.index))
            route.batch(tc.filter_received(link.index), tc.redirect(link.index, ifb.index))
        except BaseException:
            _receive_freely(route, link)
            raise


def _made(route: Route, link: LinkRecord) -> LinkRecord:
    """The alias tells whose it is, and that of its link is the same."""
    name = ifb_of(link.name)
    try:
        _unless_gone(route, rt.delete_link(name))
        route.batch(
            rt.make_link(name, "ifb", rt.mtu(link.mtu), rt.one_queue()),
            rt.change_link(name, rt.alias(link.alias), families(link.mtu), up=True),
        )
    except NetlinkError as e:
        _unless_gone(route, rt.delete_link(name))
        if e.errno == errno.EOPNOTSUPP:
            raise NetlinkError(f"{e.what} (ifb)", e.errno, e.words) from e
        raise
    found = route.link(name)
    if found is None:
        raise NotFoundError(f"interface {name} is gone: another program has deleted it")
    return found


def _receive_freely(route: Route, link: LinkRecord) -> None:
    """First the way that leads to the ifb goes, so that no packet is lost."""
    _unless_gone(route, tc.delete_filters(link.index))
    _unless_gone(route, rt.delete_link(ifb_of(link.name)))


def _unless_gone(route: Route, message: Message) -> None:
    (refused,) = route.attempt(message)
    if refused is not None and refused.errno not in (errno.ENOENT, errno.EINVAL, errno.ENODEV):
        raise refused


def _leads_to(route: Route, link: LinkRecord, ifb: int) -> bool:
    with suppress(NetlinkError):  # nothing is filtered
        answers = route.dump(tc.dump_filters(link.index))
        return ifb in map(tc.redirected_to, (a.body for a in answers))
    return False


def held(route: Route, host_name: str) -> Rates | None:
    """What the kernel holds a link to, rounded to whole bytes; None: the link is gone."""
    link, ifb = route.link(host_name), route.link(ifb_of(host_name))
    if link is None:
        return None
    is_limited = ifb is not None and ifb.up and _leads_to(route, link, ifb.index)
    outgoing = _sent(route, ifb) if ifb is not None and is_limited else UNLIMITED
    return Rates(incoming=_sent(route, link), outgoing=outgoing)


def limited(route: Route) -> set[str]:
    """The names of links with a bucket that `limit` has made, or with an ifb."""
    bodies = [answer.body for answer in route.dump(tc.dump_qdiscs(0))]
    buckets = {tc.interface_of_bucket(body) for body in bodies if tc.is_sized(body)}
    found = {link.name for link in route.links() if link.index in buckets or link.kind == "ifb"}
    return {_LINK + n.removeprefix(_IFB) if n.startswith(_IFB) else n for n in found}


def _sent(route: Route, link: LinkRecord) -> int | Unlimited:
    for answer in route.dump(tc.dump_qdiscs(link.index)):
        if tc.interface_of_bucket(answer.body) == link.index:
            return 8 * tc.bucket_rate(answer.body)
    return UNLIMITED
