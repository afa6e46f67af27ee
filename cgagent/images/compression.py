"""Decompressing what images hold, with a bound on how far it may expand. Knows no tar."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_CHUNK: Final = 1 << 18
_GZIP_MAGIC: Final = b"\x1f\x8b"
_OTHER_MAGICS: Final = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
EXPANSION_FREE_BYTES: Final = 1 << 30
EXPANSION_RATIO: Final = 200
"""Beyond its first GiB, content may expand 200-fold; deflate's worst is 1032-fold."""


def is_gzip(head: bytes) -> bool:
    return head.startswith(_GZIP_MAGIC)


def decompressed(source: BinaryIO, what: str) -> Iterator[bytes]:
    """The plain bytes of `source`, which is plain or gzip'ed.

    Raises:
        UnsupportedError: another compression.
        InvalidInputError: damaged, cut off, or expanding beyond all bounds.
    """
    head = source.read(_CHUNK)
    for magic, name in _OTHER_MAGICS.items():
        if head.startswith(magic):
            raise UnsupportedError(
                f"{what} is compressed with {name}, which cgagent cannot read: build the image "
                "with gzip compression"
            )
    if is_gzip(head):
        yield from _gunzip(head, source, what)
        return
    while head:
        yield head
        head = source.read(_CHUNK)


def _gunzip(data: bytes, source: BinaryIO, what: str) -> Iterator[bytes]:
    read, produced = len(data), 0
    member = None
    while data:
        if member is None:
            data = data.lstrip(b"\0")  # some writers pad to a block
            member = zlib.decompressobj(wbits=31) if data else None
        if member is not None:
            try:
                plain = member.decompress(data, _CHUNK)
            except zlib.error as e:
                raise InvalidInputError(f"{what}: damaged gzip data: {e}") from None
            produced += len(plain)
            if produced > EXPANSION_FREE_BYTES + EXPANSION_RATIO * read:
                raise InvalidInputError(
                    f"{what} expands to more than {EXPANSION_RATIO} times its size: refused"
                )
            if plain:
                yield plain
            data = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
        if not data:
            data = source.read(_CHUNK)
            read += len(data)
    if member is not None:
        raise InvalidInputError(f"{what}: the gzip data is cut off")
