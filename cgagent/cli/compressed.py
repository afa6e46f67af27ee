"""Standard input that may be compressed: gzip, bzip2 or xz. Loaded only when ``cp -`` reads it."""

from __future__ import annotations

import bz2
import lzma
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK: Final = 1 << 18
_MAGICS: Final[dict[bytes, Callable[[], Any]]] = {
    b"\x1f\x8b": partial(zlib.decompressobj, wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
"""How compressed data begins, and what reads it."""


def pieces() -> Iterator[bytes]:
    """What comes, plain.

    Raises:
        InvalidInputError: it is damaged or cut off.
    """
    data = standard.read(0, _CHUNK)
    while 0 < len(data) < max(map(len, _MAGICS)) and (more := standard.read(0, _CHUNK)):
        data += more
    make = next((make for magic, make in _MAGICS.items() if data.startswith(magic)), None)
    if make is not None:
        yield from _plain(data, make)
        return
    while data:
        yield data
        data = standard.read(0, _CHUNK)


def _plain(data: bytes, make: Callable[[], Any]) -> Iterator[bytes]:
    """Streams may follow one another, as from pigz and pbzip2."""
    stream = None
    while data:
        stream = stream or make()
        try:
            yield stream.decompress(data)
        except (OSError, zlib.error, lzma.LZMAError) as e:
            raise InvalidInputError(f"standard input: damaged compressed data: {e}") from None
        data = b""
        if stream.eof:
            data, stream = stream.unused_data.lstrip(b"\0"), None
        data = data or standard.read(0, _CHUNK)
    if stream is not None:
        raise InvalidInputError("standard input: the compressed data is cut off")
