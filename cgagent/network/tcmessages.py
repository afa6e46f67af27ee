"""The rtnetlink requests of traffic control that cgagent makes, and what its dumps tell.

A token bucket (tbf) lets an interface send at a rate; a filter of what an interface receives leads
all of it to another one. Layouts: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from cgagent.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    attribute,
    attributes,
    nest,
    number,
    text,
    u32,
    words_of,
)

_NEW_QDISC, _DELETE_QDISC, _GET_QDISC = 36, 37, 38
_NEW_FILTER, _GET_FILTER = 44, 46
_TCMSG: Final = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_KIND, _OPTIONS = 1, 2

_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_RECEIVED: Final = 0xFFFF0000
"""The handle ``ffff:``, which filters of what an interface receives have as their parent."""

_RATE: Final = struct.Struct("=BBHhHI")  # cell log, link layer, overhead, align, least, bytes/s
_QUEUE: Final = struct.Struct("=III")  # limit in bytes, buffer, mtu
_TBF_PARAMETERS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_ETHERNET: Final = 1
_SIZES: Final = range(8, 32)
_U32_MAX: Final = 0xFFFFFFFF

_EVERY_PROTOCOL: Final = socket.htons(3)
_SELECTOR: Final = struct.Struct("=BBBxHHhhI")
_MATCH: Final = struct.Struct("=IIii")
_TERMINAL: Final = 1
_U32_SELECTOR, _U32_ACTIONS = 5, 7
_ACTION_KIND, _ACTION_OPTIONS, _MIRRED_PARAMETERS = 1, 2, 2
_MIRRED: Final = struct.Struct("=IIiiiiI")  # index, capabilities, action, two counts, how, where
_STOLEN, _REDIRECT = 4, 1


def _head(index: int, parent: int, handle: int = 0, info: int = 0) -> bytes:
    return _TCMSG.pack(socket.AF_UNSPEC, index, handle, parent, info)


def set_bucket(index: int, rate: int, burst_log2: int, queue: int) -> Message:
    """Have an interface send `rate` bytes a second; refused where another kind has its handle.

    2 ** `burst_log2` bytes at once after a pause; `queue` bytes wait, what comes then is dropped.

    A bucket that is there is changed if it is as large, and else there is a new one in its place:
    the kernel would wait for ever until a smaller one is full enough for a packet that is queued
    and larger than it (segmentation offload makes packets of 64 KiB). So the handle is the size.
    """
    spec = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(rate, _U32_MAX))
    parameters = spec + bytes(_RATE.size) + _QUEUE.pack(queue, 0, 0)
    options = [attribute(_TBF_PARAMETERS, parameters), u32(_TBF_BURST, 1 << burst_log2)]
    if rate >= _U32_MAX:
        options.append(attribute(_TBF_RATE64, struct.pack("=Q", rate)))
    body = _head(index, _ROOT, burst_log2 << 16) + text(_KIND, "tbf") + nest(_OPTIONS, *options)
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(_NEW_QDISC, body, flags, "limit the rate of an interface (sch_tbf)")


def delete_root(index: int) -> Message:
    """Send as the kernel does where nobody asks for more; refused where that is so already."""
    return Message(_DELETE_QDISC, _head(index, _ROOT), what="end the limit of an interface's rate")


def filter_received(index: int) -> Message:
    """Let what an interface receives be filtered."""
    body = _head(index, _INGRESS, _RECEIVED) + text(_KIND, "ingress")
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Message(_NEW_QDISC, body, flags, "filter what an interface receives (sch_ingress)")


def delete_filters(index: int) -> Message:
    """Refused where what is received is not filtered."""
    body = _head(index, _INGRESS, _RECEIVED)
    return Message(_DELETE_QDISC, body, what="filter no more what an interface receives")


def redirect(index: int, to: int) -> Message:
    """Lead all that an interface receives to another one, as if it was to be sent by that."""
    every = _SELECTOR.pack(_TERMINAL, 0, 1, 0, 0, 0, 0, 0) + _MATCH.pack(0, 0, 0, 0)
    mirred = attribute(_MIRRED_PARAMETERS, _MIRRED.pack(0, 0, _STOLEN, 0, 0, _REDIRECT, to))
    action = nest(1, text(_ACTION_KIND, "mirred"), nest(_ACTION_OPTIONS, mirred))
    options = nest(_OPTIONS, attribute(_U32_SELECTOR, every), nest(_U32_ACTIONS, action))
    head = _head(index, _RECEIVED, info=1 << 16 | _EVERY_PROTOCOL)
    what = "redirect what an interface receives (cls_u32, act_mirred)"
    return Message(_NEW_FILTER, head + text(_KIND, "u32") + options, NLM_F_CREATE, what)


def dump_qdiscs(index: int) -> Message:
    """Of one interface, where `index` is not 0; some kernels answer with those of all."""
    return Message(_GET_QDISC, _head(index, 0), what="list queueing disciplines")


def dump_filters(index: int) -> Message:
    return Message(_GET_FILTER, _head(index, _RECEIVED), what="list filters")


def interface_of_bucket(body: bytes) -> int | None:
    """Whose bucket an answer is about; None: it is about another kind."""
    _, index, _, parent, _ = _TCMSG.unpack_from(body)
    kind = words_of(attributes(body[_TCMSG.size :]).get(_KIND, b""))
    return int(index) if kind == "tbf" and parent == _ROOT else None


def is_sized(body: bytes) -> bool:
    """May a bucket be one of `set_bucket`? tc's own handles begin at 8000:, people's at 1:."""
    return _TCMSG.unpack_from(body)[2] >> 16 in _SIZES


def bucket_rate(body: bytes) -> int:
    """Bytes a second."""
    options = attributes(attributes(body[_TCMSG.size :])[_OPTIONS])
    if _TBF_RATE64 in options:
        return number(options[_TBF_RATE64])
    return int(_RATE.unpack_from(options[_TBF_PARAMETERS])[-1])


def redirected_to(body: bytes) -> int | None:
    """The interface that a filter leads to; None: it does something else."""
    found = attributes(body[_TCMSG.size :])
    options = attributes(found.get(_OPTIONS, b""))
    for action in attributes(options.get(_U32_ACTIONS, b"")).values():
        its = attributes(action)
        parameters = attributes(its.get(_ACTION_OPTIONS, b"")).get(_MIRRED_PARAMETERS)
        if words_of(its.get(_ACTION_KIND, b"")) == "mirred" and parameters:
            return int(_MIRRED.unpack_from(parameters)[-1])
    return None
