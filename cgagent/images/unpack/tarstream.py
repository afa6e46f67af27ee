"""Reading a tar stream forward, with every size bounded before it is believed.

Not `tarfile`: that reads a header of whatever length it claims into memory, keeps every member,
takes a damaged header for the end of the archive, and in the Python releases of current
distributions can be sent into endless loops (CVE-2024-6232, CVE-2025-8194). Knows ustar, the
GNU long names and base-256 numbers, and PAX with the sparse files of GNU tar's formats 0.0 to 1.0.

Formats: POSIX.1-2017 pax(1), https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from . import sparsemap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .sparsemap import SparseMap

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
_EXTENSIONS: Final = frozenset({_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK})
_OLD_GNU_SPARSE: Final = b"S"
_XATTR: Final = b"SCHILY.xattr."
_ZEROS: Final = bytes(BLOCK)
_PLAIN: Final = frozenset(
    {REGULAR, HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO}
)
_BAD_ENTRY: Final = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOENT,
        errno.EINVAL,
        errno.EPERM,
        errno.EMLINK,
        errno.EEXIST,
        errno.E2BIG,
        errno.EFBIG,
        errno.ERANGE,
    }
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
    """The bytes of its content in the archive."""
    mtime_ns: int
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: SparseMap | None = None
    """Of a file with holes, where its content belongs."""

    @property
    def shown(self) -> str:
        return shown(self.name)


class TarStream:
    """Iterates over the entries; between two, `data()` gives the content of the last one.

    Files with holes are refused unless the caller knows what to do with `Entry.sparse`.
    """

    def __init__(self, source: Source, *, sparse: bool = False) -> None:
        self._source = source
        self._sparse = sparse
        self._buffer = b""  # read ahead, so that a small member costs no system call
        self._at = 0
        self._left = 0  # of the current entry's content
        self._padding = 0
        self._passed = 0  # bytes that have left the buffer

    @property
    def offset(self) -> int:
        """Bytes consumed: at an entry, where its content begins."""
        return self._passed + self._at

    def __iter__(self) -> Iterator[Entry]:
        long_name = long_link = None
        pax: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind in _EXTENSIONS:
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
            if pax and sparsemap.is_sparse(pax):
                self._read_map(entry, pax)
            yield entry
            self._skip()
            long_name = long_link = None
            pax = {}
        if pax or long_name is not None or long_link is not None:
            raise BadTarError("the archive ends after an extended header")

    def data(self) -> Iterator[bytes]:
        while self._left:
            if self._at == len(self._buffer):
                self._drop_buffer()
                chunk = self._source.read(min(self._left, _CHUNK))
                self._passed += len(chunk)
            else:
                chunk = self._buffer[self._at : self._at + min(self._left, _CHUNK)]
                self._at += len(chunk)
            if not chunk:
                raise BadTarError("the archive is cut off inside an entry")
            self._left -= len(chunk)
            yield chunk

    def _read_map(self, entry: Entry, pax: dict[bytes, bytes]) -> None:
        if not self._sparse or entry.type != REGULAR:
            raise BadTarError(f"entry {entry.shown}: a sparse file is not supported here")
        try:
            entry.sparse = sparsemap.read(pax, entry.size, self._map_block)
        except sparsemap.BadMapError as e:
            raise BadTarError(f"entry {entry.shown}: {e}") from None
        entry.name = pax.get(b"GNU.sparse.name", entry.name)
        _refuse_nul(entry.name)
        entry.size = self._left

    def _map_block(self) -> bytes:
        """The next block of an entry whose content begins with its map."""
        if self._left < BLOCK:
            raise sparsemap.BadMapError("the map of a sparse file is cut off")
        self._left -= BLOCK
        return self._exactly(BLOCK)

    def _header(self) -> bytes | None:
        block = self._exactly(BLOCK, at_end_ok=True)
        if not block or block == _ZEROS:
            return None  # some writers leave out the closing blocks of zeros
        stored = _number(block[148:156], "checksum")
        total = sum(block) - sum(block[148:156]) + 8 * 32
        if stored != total:
            blank = block[:148] + b" " * 8 + block[156:]
            if stored != sum(b - 256 if b > 127 else b for b in blank):  # noqa: PLR2004
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
        if self._left:
            for _ in self.data():
                pass
        if self._padding:
            # docker's command line sends contexts whose last entry has no padding after it
            self._exactly(self._padding, at_end_ok=True)
            self._padding = 0

    def _exactly(self, size: int, *, at_end_ok: bool = False) -> bytes:
        end = self._at + size
        while end > len(self._buffer):
            there = len(self._buffer) - self._at
            chunk = self._source.read(_CHUNK)
            if not chunk:
                if at_end_ok and not there:
                    return b""
                raise BadTarError("the archive is cut off")
            rest = self._buffer[self._at :]
            self._drop_buffer(there)
            self._buffer = rest + chunk if rest else chunk
            end = size
        found = self._buffer[self._at : end]
        self._at = end
        return found

    def _drop_buffer(self, kept: int = 0) -> None:
        self._passed += len(self._buffer) - kept
        self._buffer = b""
        self._at = 0


def write(fd: int, content: Iterator[bytes]) -> None:
    """All of it at the descriptor's position."""
    for chunk in content:
        count = os.write(fd, chunk)
        if count < len(chunk):
            _write_rest(fd, memoryview(chunk)[count:])


def _write_rest(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def write_sparse(fd: int, wanted: SparseMap, content: Iterator[bytes]) -> None:
    """Into an empty file, which keeps its holes."""
    os.ftruncate(fd, wanted.real_size)
    rest = memoryview(b"")
    for offset, length in wanted.regions:
        os.lseek(fd, offset, os.SEEK_SET)
        missing = length
        while missing:
            rest = rest or memoryview(next(content))
            piece, rest = rest[:missing], rest[missing:]
            _write_rest(fd, piece)
            missing -= len(piece)


def make_special(path: bytes, entry: Entry) -> None:
    """A symbolic link, a fifo or a device; its attributes are the caller's."""
    if entry.type == SYMBOLIC_LINK:
        os.symlink(entry.link, path)
    elif entry.type == FIFO:
        os.mkfifo(path)
    else:
        kind = stat.S_IFCHR if entry.type == CHARACTER_DEVICE else stat.S_IFBLK
        os.mknod(path, kind, os.makedev(entry.major, entry.minor))


def blamed(entry: Entry, error: OSError | OverflowError) -> Exception:
    """What the kernel refuses because of what an entry asks for makes the archive a bad one."""
    if isinstance(error, OverflowError):
        return BadTarError(f"entry {entry.shown}: a number out of range")
    if error.errno in _BAD_ENTRY:
        return BadTarError(f"entry {entry.shown}: {error.strerror}")
    return error


def shown(name: bytes) -> str:
    """A name for a message: short and printable."""
    text = name.decode(errors="backslashreplace")
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _entry(
    header: bytes, pax: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None
) -> Entry:
    kind = header[156:157]
    name = _text(header[0:100])
    if header[345] and header[257:263] == b"ustar\0":
        name = _text(header[345:500]) + b"/" + name
    if long_name is not None:
        name = long_name
    link = _text(header[157:257]) if long_link is None else long_link
    if pax:
        name, link = pax.get(b"path", name), pax.get(b"linkpath", link)
    _refuse_nul(name, link)
    if kind not in _PLAIN:
        kind = _plain_kind(kind, name)
    is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
    found = Entry(
        name=name,
        type=kind,
        mode=_number(header[100:108], "mode") & 0o7777,
        uid=_number(header[108:116], "uid"),
        gid=_number(header[116:124], "gid"),
        size=_number(header[124:136], "size"),
        mtime_ns=0,
        link=link,
        major=_number(header[329:337], "device") if is_device else 0,
        minor=_number(header[337:345], "device") if is_device else 0,
    )
    found.mtime_ns = _mtime_ns(pax.get(b"mtime"), header[136:148])
    if pax:
        _extend(found, pax)
    if kind != REGULAR:
        found.size = 0
    return found


def _plain_kind(kind: bytes, name: bytes) -> bytes:
    if kind in (_OLD_REGULAR, _CONTIGUOUS):
        # Before ustar a directory was a file whose name ends with a slash.
        return DIRECTORY if kind == _OLD_REGULAR and name.endswith(b"/") else REGULAR
    if kind == _OLD_GNU_SPARSE:
        raise BadTarError(
            f"entry {shown(name)}: a sparse file in GNU tar's old format (type S) is not "
            "supported: 'tar --sparse --format=posix' writes one that is"
        )
    raise BadTarError(
        f"entry {shown(name)}: entry type {kind.decode('latin-1')!a} is not supported"
    )


def _extend(entry: Entry, pax: dict[bytes, bytes]) -> None:
    """What an extended header says goes before what the header has no room for."""
    entry.uid = _decimal(pax, b"uid", entry.uid)
    entry.gid = _decimal(pax, b"gid", entry.gid)
    entry.size = _decimal(pax, b"size", entry.size)
    for key, value in pax.items():
        if key.startswith(_XATTR):
            entry.xattrs[key.removeprefix(_XATTR)] = value


def _refuse_nul(*names: bytes) -> None:
    for name in names:
        if b"\0" in name:
            raise BadTarError(f"entry {name[:_SHOWN]!r}: a name with a NUL byte")


def _text(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _number(raw: bytes, what: str, *, signed: bool = False) -> int:
    """Octal digits, or base 256 when the first bit is set."""
    digits = raw.strip(b" \0")
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            raise BadTarError(f"a header field is damaged: {what} {digits!r}") from None
    if not digits:
        return 0
    if not raw[0] & 0x80:
        raise BadTarError(f"a header field is damaged: {what} {digits!r}")
    value = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
    if raw[0] & 0x40:  # negative, in two's complement over the remaining bits
        value -= 1 << (8 * len(raw) - 1)
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
    records: dict[bytes, bytes] = {}
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
        if key in sparsemap.REPEATED and key in records:
            value = records[key] + b"," + value
        records[key] = value
        start = end
    return {key: value for key, value in records.items() if value or b"xattr" in key}
