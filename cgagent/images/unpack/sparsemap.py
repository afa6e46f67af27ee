"""Where the content of a sparse file in a PAX archive belongs, in the formats that GNU tar writes.

Format 0.0 repeats a record for each offset and each length, 0.1 has all of them in one record, and
in 1.0 they are the beginning of the file's content.
https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OFFSET: Final = b"GNU.sparse.offset"
_LENGTH: Final = b"GNU.sparse.numbytes"
REPEATED: Final = frozenset({_OFFSET, _LENGTH})
"""Records of format 0.0 that come once for each region."""
_MAX_NUMBER: Final = (1 << 63) - 1
_MAX_DIGITS: Final = 19
_MAX_REGIONS: Final = 1 << 17


class BadMapError(Exception):
    """The map cannot be read, or does not fit the file."""


class SparseMap(NamedTuple):
    real_size: int
    """With the holes."""
    regions: tuple[tuple[int, int], ...]
    """Offset and length of each piece of content, in their order."""


def is_sparse(pax: dict[bytes, bytes]) -> bool:
    return any(key.startswith(b"GNU.sparse.") for key in pax)


def read(pax: dict[bytes, bytes], stored: int, next_block: Callable[[], bytes]) -> SparseMap:
    """The map of an entry with `stored` bytes of content, of which 1.0 takes blocks for itself.

    Raises:
        BadMapError
    """
    version = pax.get(b"GNU.sparse.major", b"0"), pax.get(b"GNU.sparse.minor", b"0")
    if version == (b"1", b"0"):
        numbers = _Blocks(next_block)
        regions = _pairs([numbers.next() for _ in range(2 * _count(numbers.next()))])
        stored -= numbers.bytes_read
    elif version[0] == b"0":
        raw = pax.get(b"GNU.sparse.map")
        if raw is None:
            lists = [_numbers(pax.get(key, b"")) for key in (_OFFSET, _LENGTH)]
            if len(lists[0]) != len(lists[1]):
                raise BadMapError("the map of a sparse file has not as many lengths as offsets")
            regions = list(zip(*lists, strict=True))
        else:
            regions = _pairs(_numbers(raw))
    else:
        text = b".".join(version)[:20]
        raise BadMapError(f"a sparse file in a format that is not known: {text!r}")
    real_size = pax.get(b"GNU.sparse.realsize", pax.get(b"GNU.sparse.size"))
    if real_size is None:
        raise BadMapError("a sparse file without its size")
    return _checked(_number(real_size), regions, stored)


def _checked(real_size: int, regions: list[tuple[int, int]], stored: int) -> SparseMap:
    end = 0
    for offset, length in regions:
        if offset < end:
            raise BadMapError("the map of a sparse file is not in order")
        end = offset + length
    if end > real_size:
        raise BadMapError("the map of a sparse file leads beyond its end")
    if sum(length for _, length in regions) != stored:
        raise BadMapError("the map of a sparse file does not fit its content")
    return SparseMap(real_size, tuple(regions))


class _Blocks:
    """Numbers, each with a newline, at the beginning of the content; padded to a block."""

    def __init__(self, next_block: Callable[[], bytes]) -> None:
        self._lines = self._read(next_block)
        self.bytes_read = 0

    def next(self) -> int:
        return _number(next(self._lines))

    def _read(self, next_block: Callable[[], bytes]) -> Iterator[bytes]:
        rest = b""
        while True:
            block = next_block()
            self.bytes_read += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
            if len(rest) > len(block):
                raise BadMapError("the map of a sparse file is damaged")


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise BadMapError("the map of a sparse file has not as many lengths as offsets")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(raw: bytes) -> list[int]:
    return [_number(part) for part in raw.split(b",")] if raw else []


def _count(number: int) -> int:
    if number > _MAX_REGIONS:
        raise BadMapError(f"a sparse file of {number} pieces; at most {_MAX_REGIONS} are accepted")
    return number


def _number(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > _MAX_DIGITS or int(raw) > _MAX_NUMBER:
        raise BadMapError(f"the map of a sparse file is damaged: {raw[:40]!r}")
    return int(raw)
