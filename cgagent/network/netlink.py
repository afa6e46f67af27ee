"""Netlink messages in bytes: packing, unpacking, and what a refusal says. No sockets here.

The layout is that of linux/netlink.h; numbers are in the byte order of the host. A message is a
head of 16 bytes, the fixed part of its kind, and attributes; an attribute is a head of 4 bytes and
a value, padded to a multiple of 4, and its value may be attributes again.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_DUMP: Final = 0x300
NLM_F_CREATE: Final = 0x400
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

_HEAD: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_TYPE_MASK: Final = 0x3FFF
_NESTED: Final = 0x8000
_VALUE_MAX: Final = 0xFFFF - _ATTRIBUTE.size
_ERRNO: Final = struct.Struct("=i")
_F_CAPPED: Final = 0x100
_F_ACK_TLVS: Final = 0x200
_ERROR_TEXT: Final = 1
_U8, _U32 = struct.Struct("=B"), struct.Struct("=I")


class NetlinkError(InternalError):
    """The kernel refused a message: what it was for, the kernel's words, the errno."""

    def __init__(self, what: str, code: int, words: str = "", *, place: int = 0) -> None:
        said = os.strerror(code) + (f" ({words})" if words else "")
        super().__init__(f"cannot {what}: {said}")
        self.what = what
        self.errno = code
        self.words = words
        self.place = place
        """Which message of its batch it was, from 0."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request, without what its socket adds: sequence number, NLM_F_REQUEST and NLM_F_ACK."""

    kind: int
    body: bytes
    """The fixed part and the attributes."""
    flags: int = 0
    what: str = "ask the kernel"
    """What it is for, as "cannot ..." goes on: ``make the bridge cgagent0``."""


@dataclass(frozen=True, slots=True)
class Received:
    kind: int
    flags: int
    sequence: int
    body: bytes
    port: int = 0
    """Whose request made the kernel say it: the port of that socket."""


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def packed(message: Message, sequence: int, flags: int = 0) -> bytes:
    """It as the kernel takes it, padded, with these flags besides its own."""
    flags |= message.flags | NLM_F_REQUEST
    size = _HEAD.size + len(message.body)
    return padded(_HEAD.pack(size, message.kind, flags, sequence, 0) + message.body)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute.

    Raises:
        ValueError: the value is longer than 65,531 bytes.
    """
    if len(value) > _VALUE_MAX:
        raise ValueError(f"netlink attribute {kind} has {len(value)} bytes, more than {_VALUE_MAX}")
    return padded(_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value)


def nest(kind: int, *members: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(members))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, os.fsencode(value) + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, _U8.pack(value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def number(value: bytes) -> int:
    """An unsigned number of any width."""
    return int.from_bytes(value, "little" if _U32.pack(1)[0] else "big")


def words_of(value: bytes) -> str:
    return os.fsdecode(value.partition(b"\0")[0])


def attributes(data: bytes) -> dict[int, bytes]:
    """Values by type; of a type that comes twice the last.

    Raises:
        ValueError: a length is impossible.
    """
    found = {}
    for at, size, kind in _pieces(data, _ATTRIBUTE):
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + size]
    return found


def values(data: bytes) -> Iterator[bytes]:
    """The values of a list, whose members are attributes of one type.

    Raises:
        ValueError: a length is impossible.
    """
    for at, size, _ in _pieces(data, _ATTRIBUTE):
        yield data[at + _ATTRIBUTE.size : at + size]


def received(packet: bytes) -> Iterator[Received]:
    """The messages of a packet.

    Raises:
        ValueError: a length is impossible.
    """
    for at, size, kind, flags, sequence, port in _pieces(packet, _HEAD):
        yield Received(kind, flags, sequence, packet[at + _HEAD.size : at + size], port)


def _pieces(data: bytes, head: struct.Struct) -> Iterator[tuple[int, ...]]:
    """Where each begins, and its head, which begins with its length."""
    at = 0
    while at < len(data):
        if len(data) - at < head.size:
            raise ValueError(f"{len(data) - at} bytes of netlink are left, less than a head")
        fields = head.unpack_from(data, at)
        if not head.size <= fields[0] <= len(data) - at:
            raise ValueError(f"a piece of netlink has {fields[0]} bytes of {len(data) - at}")
        yield at, *fields
        at += (fields[0] + 3) & ~3


def refusal(answer: Received) -> tuple[int, str]:
    """Of an NLMSG_ERROR, or of an NLMSG_DONE: the errno, and the kernel's words if any.

    0 is an acknowledgement, or an end without error.
    """
    code: int = -_ERRNO.unpack_from(answer.body)[0]
    if not answer.flags & _F_ACK_TLVS:
        return code, ""
    rest = _ERRNO.size
    if answer.kind == NLMSG_ERROR:
        rest += _HEAD.size  # the head of what was refused
        if code and not answer.flags & _F_CAPPED:  # and all of it
            rest = _ERRNO.size + ((_HEAD.unpack_from(answer.body, _ERRNO.size)[0] + 3) & ~3)
    return code, words_of(attributes(answer.body[rest:]).get(_ERROR_TEXT, b""))
