"""Decompressing what images hold, with a bound on how far it may expand. Knows no tar."""

from __future__ import annotations

import bz2
import lzma
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from cgagent.errors import InvalidInputError

try:
    from isal import isal_zlib as inflate
except ImportError:  # made for x86-64 and arm64 only
    import zlib as inflate  # type: ignore[no-redef]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK: Final = 1 << 18
_MAGIC_BYTES: Final = 6
_GzipError: Final = cast("type[Exception]", inflate.error)
_GZIP_MAGIC: Final = b"\x1f\x8b"
_XZ_MEMORY_BYTES: Final = 128 << 20  # what xz -9 asks for, twice
_ZSTD_WINDOW_LOG: Final = 27  # 128 MiB: what zstd reads without being told to, and writes as --long
EXPANSION_FREE_BYTES: Final = 1 << 30
EXPANSION_RATIO: Final = 200
"""Beyond its first GiB, content may expand 200-fold; deflate's worst is 1032-fold."""


class Source(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""
        ...


class _Decompressor(Protocol):
    """What bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


_OTHERS: Final[dict[re.Pattern[bytes], Callable[[], _Decompressor]]] = {
    re.compile(rb"BZh"): bz2.BZ2Decompressor,
    re.compile(rb"\xfd7zXZ"): partial(
        lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES
    ),
    # the second is a frame to be skipped, which pzstd and zstd:chunked write
    re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"): partial(
        zstd.ZstdDecompressor,
        options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG},
    ),
}
"""How compressed data begins, and what reads it, in bounded memory."""


def is_compressed(head: bytes) -> bool:
    return head.startswith(_GZIP_MAGIC) or any(magic.match(head) for magic in _OTHERS)


def decompressed(source: Source, what: str) -> Iterator[bytes]:
    """The plain bytes of `source`, which is plain or compressed.

    Raises:
        InvalidInputError: damaged, cut off, or expanding beyond all bounds.
    """
    head = source.read(_CHUNK)
    while 0 < len(head) < _MAGIC_BYTES and (more := source.read(_CHUNK)):
        head += more  # of a connection the first bytes may come alone
    for magic, make in _OTHERS.items():
        if magic.match(head):
            yield from _expanded(head, source, what, make)
            return
    if head.startswith(_GZIP_MAGIC):
        yield from _gunzip(head, source, what)
        return
    while head:
        yield head
        head = source.read(_CHUNK)


def _expanded(
    data: bytes, source: Source, what: str, make: Callable[[], _Decompressor]
) -> Iterator[bytes]:
    """Of bzip2, xz and zstd: streams one after the other."""
    read, produced = len(data), 0
    stream: _Decompressor | None = None
    while data or (stream is not None and not stream.needs_input):
        stream = stream or make()
        try:
            plain = stream.decompress(data, _CHUNK)
        except (OSError, lzma.LZMAError, zstd.ZstdError) as e:
            raise InvalidInputError(f"{what}: damaged compressed data: {e}") from None
        produced += len(plain)
        _check_expansion(read, produced, what)
        if plain:
            yield plain
        data = b""
        if stream.eof:
            data, stream = stream.unused_data.lstrip(b"\0"), None
        if not data and (stream is None or stream.needs_input):
            data = source.read(_CHUNK)
            read += len(data)
    if stream is not None:
        raise InvalidInputError(f"{what}: the compressed data is cut off")


def _check_expansion(read: int, produced: int, what: str) -> None:
    if produced > EXPANSION_FREE_BYTES + EXPANSION_RATIO * read:
        raise InvalidInputError(
            f"{what} expands to more than {EXPANSION_RATIO} times its size: refused"
        )


def _gunzip(data: bytes, source: Source, what: str) -> Iterator[bytes]:
    read, produced = len(data), 0
    member = None
    while data:
        if member is None:
            data = data.lstrip(b"\0")  # some writers pad to a block
            member = inflate.decompressobj(wbits=31) if data else None
        if member is not None:
            try:
                plain = member.decompress(data, _CHUNK)
            except _GzipError as e:
                raise InvalidInputError(f"{what}: damaged gzip data: {e}") from None
            produced += len(plain)
            _check_expansion(read, produced, what)
            if plain:
                yield plain
            data = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
        if not data:
            data = source.read(_CHUNK)
            read += len(data)
    if member is not None:
        raise InvalidInputError(f"{what}: the gzip data is cut off")
