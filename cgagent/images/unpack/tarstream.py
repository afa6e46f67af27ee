"""Reading a tar stream forward, with every size bounded before it is believed.

Not `tarfile`: that reads a header of whatever length it claims into memory, keeps every member,
takes a damaged header for the end of the archive, and in the Python releases of current
distributions can be sent into endless loops (CVE-2024-6232, CVE-2025-8194). Knows ustar, the
GNU long names and base-256 numbers, and PAX; sparse files are refused.

Formats: POSIX.1-2017 pax(1), https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK: Final = 512
MAX_EXTENSION_BYTES: Final = 1 << 20
"""The longest PAX or GNU long-name header accepted, as in Go's archive/tar."""
_CHUNK: Final = 1 << 18
_SHOWN: Final = 120
_MAX_NUMBER: Final = (1 << 63) - 1

REGULAR: Final = b"0"
HARD_LINK: Final = b"1"
SYMBOLIC_LINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
_CONTIGUOUS: Final = b"7"
_OLD_REGULAR: Final = b"\0"
_PAX: Final = b"x"
_PAX_GLOBAL: Final = b"g"
_GNU_LONG_NAME: Final = b"L"
_GNU_LONG_LINK: Final = b"K"
_PLAIN: Final = frozenset(
    {REGULAR, HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO}
)


class BadTarError(Exception):
    """The stream is not a tar archive that can be read to its end. The text says where."""


class Source(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""
        ...


@dataclass(slots=True)
class Entry:
    """One member. `name` and `link` are bytes as they stand in the archive."""

    name: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The name for a message: short and printable."""
        text = self.name.decode(errors="backslashreplace")
        return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class TarStream:
    """Iterates over the entries; between two, `data()` gives the content of the last one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0  # of the current entry's content
        self._padding = 0
        self.offset = 0
        """Bytes consumed: at an entry, where its content begins."""

    def __iter__(self) -> Iterator[Entry]:
        long_name = long_link = None
        pax: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind in (_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK):
                content = self._extension(header)
                if kind == _PAX:
                    pax = _pax_records(content)
                elif kind == _GNU_LONG_NAME:
                    long_name = content.split(b"\0", 1)[0]
                elif kind == _GNU_LONG_LINK:
                    long_link = content.split(b"\0", 1)[0]
                continue  # a global header holds comments and defaults that no layer needs
            entry = _entry(header, pax, long_name, long_link)
            self._left = entry.size
            self._padding = -entry.size % BLOCK
            yield entry
            self._skip()
            long_name = long_link = None
            pax = {}
        if pax or long_name is not None or long_link is not None:
            raise BadTarError("the archive ends after an extended header")

    def data(self) -> Iterator[bytes]:
        while self._left:
            chunk = self._read(min(self._left, _CHUNK))
            if not chunk:
                raise BadTarError("the archive is cut off inside an entry")
            self._left -= len(chunk)
            yield chunk

    def _header(self) -> bytes | None:
        block = self._exactly(BLOCK, at_end_ok=True)
        if not block or not any(block):
            return None  # some writers leave out the closing blocks of zeros
        stored = _number(block[148:156], "checksum")
        blank = block[:148] + b" " * 8 + block[156:]
        signed = sum(b - 256 if b > 127 else b for b in blank)  # noqa: PLR2004
        if stored not in (sum(blank), signed):
            raise BadTarError(f"no tar header at byte {self.offset - BLOCK}: wrong checksum")
        return block

    def _extension(self, header: bytes) -> bytes:
        size = _number(header[124:136], "size")
        if size > MAX_EXTENSION_BYTES:
            raise BadTarError(
                f"an extended header of {size} bytes; at most {MAX_EXTENSION_BYTES} are accepted"
            )
        content = self._exactly(size)
        self._exactly(-size % BLOCK)
        return content

    def _skip(self) -> None:
        for _ in self.data():
            pass
        self._exactly(self._padding)
        self._padding = 0

    def _exactly(self, size: int, *, at_end_ok: bool = False) -> bytes:
        parts = []
        missing = size
        while missing:
            chunk = self._read(missing)
            if not chunk:
                if at_end_ok and missing == size:
                    return b""
                raise BadTarError("the archive is cut off")
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        chunk = self._source.read(size)
        self.offset += len(chunk)
        return chunk


def _entry(
    header: bytes, pax: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None
) -> Entry:
    kind = header[156:157]
    name = _text(header[0:100])
    if header[257:263] == b"ustar\0" and header[345]:
        name = _text(header[345:500]) + b"/" + name
    name = pax.get(b"path", name if long_name is None else long_name)
    if kind in (_OLD_REGULAR, _CONTIGUOUS):
        # Before ustar a directory was a file whose name ends with a slash.
        kind = DIRECTORY if kind == _OLD_REGULAR and name.endswith(b"/") else REGULAR
    link = pax.get(b"linkpath", _text(header[157:257]) if long_link is None else long_link)
    if b"\0" in name or b"\0" in link:
        raise BadTarError(f"entry {name[:_SHOWN]!r}: a name with a NUL byte")
    if kind not in _PLAIN or any(key.startswith(b"GNU.sparse.") for key in pax):
        what = (
            "sparse file" if kind in (REGULAR, b"S") else f"entry type {kind.decode('latin-1')!a}"
        )
        raise BadTarError(f"entry {name[:_SHOWN]!r}: {what} is not supported")
    size = _decimal(pax, b"size", _number(header[124:136], "size"))
    return Entry(
        name=name,
        type=kind,
        mode=_number(header[100:108], "mode") & 0o7777,
        uid=_decimal(pax, b"uid", _number(header[108:116], "uid")),
        gid=_decimal(pax, b"gid", _number(header[116:124], "gid")),
        size=size if kind == REGULAR else 0,
        mtime_ns=_mtime_ns(pax.get(b"mtime"), header[136:148]),
        link=link,
        major=_number(header[329:337], "device") if kind in b"34" else 0,
        minor=_number(header[337:345], "device") if kind in b"34" else 0,
        xattrs={
            key.removeprefix(b"SCHILY.xattr."): value
            for key, value in pax.items()
            if key.startswith(b"SCHILY.xattr.")
        },
    )


def _text(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _number(raw: bytes, what: str, *, signed: bool = False) -> int:
    """Octal digits, or base 256 when the first bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
        if raw[0] & 0x40:  # negative, in two's complement over the remaining bits
            value -= 1 << (8 * len(raw) - 1)
    else:
        digits = raw.strip(b" \0")
        if digits.strip(b"01234567"):
            raise BadTarError(f"a header field is damaged: {what} {digits!r}")
        value = int(digits or b"0", 8)
    if not (signed or value >= 0) or abs(value) > _MAX_NUMBER:
        raise BadTarError(f"a header field is out of range: {what} {value}")
    return value


def _decimal(pax: dict[bytes, bytes], key: bytes, otherwise: int) -> int:
    raw = pax.get(key)
    if raw is None:
        return otherwise
    if not raw.isdigit() or len(raw) > 19 or int(raw) > _MAX_NUMBER:  # noqa: PLR2004
        raise BadTarError(f"a PAX record is damaged: {key.decode()}={raw[:40]!r}")
    return int(raw)


def _mtime_ns(pax: bytes | None, field_bytes: bytes) -> int:
    """Clamped to what a file can have: from 1970 on, below 2**63 nanoseconds."""
    if pax is None:
        ns = _number(field_bytes, "mtime", signed=True) * 10**9
    else:
        whole, _, fraction = pax.partition(b".")
        digits = whole.removeprefix(b"-")
        if len(digits) > 19 or not (digits + fraction).isdigit():  # noqa: PLR2004
            raise BadTarError(f"a PAX record is damaged: mtime={pax[:40]!r}")
        ns = int(digits or b"0") * 10**9 + int(fraction[:9].ljust(9, b"0"))
        ns = 0 if whole.startswith(b"-") else ns
    return min(max(ns, 0), _MAX_NUMBER)


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """Records are ``LENGTH KEY=VALUE`` and a newline; LENGTH counts the whole record."""
    records = {}
    start = 0
    while start < len(content):
        space = content.find(b" ", start, start + 20)
        digits = content[start:space] if space > 0 else b""
        if not digits.isdigit():
            raise BadTarError("a PAX header is damaged: no record length")
        end = start + int(digits)
        if end <= space + 1 or end > len(content) or content[end - 1 : end] != b"\n":
            raise BadTarError("a PAX header is damaged: wrong record length")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise BadTarError("a PAX header is damaged: a record without a key")
        records[key] = value
        start = end
    return {key: value for key, value in records.items() if value or b"xattr" in key}
