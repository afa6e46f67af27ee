"""Images in archives: what ``docker save`` writes and OCI layouts in a tar, plain or compressed.

Only reads: the archive's members are found by name and read in place, never written under a
name that the archive chose. https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import StoppedError, in_thread
from cgagent.errors import CgagentError, InvalidInputError, NotFoundError, UnsupportedError
from cgagent.images import compression, manifest, reference
from cgagent.images.compression import decompressed
from cgagent.images.content import digest_of
from cgagent.images.install import Candidate
from cgagent.images.layers import MAX_LAYERS
from cgagent.images.unpack import tarstream
from cgagent.images.unpack.tarstream import BadTarError, TarStream
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import BinaryIO

    from cgagent.images.content import Lease

_COPY_BYTES: Final = 1 << 20
_MAX_MEMBERS: Final = 100_000
_MAX_NESTING: Final = 4
_CONTAINERD_NAME: Final = "io.containerd.image.name"
_OCI_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size: int
    link: str | None = None


@dataclass(frozen=True, slots=True)
class _ArchivedLayer:
    """A `LayerSource` that lies in the archive."""

    archive: str
    offset: int
    size_bytes: int
    shown: str
    media_type: str
    digest: str | None

    async def fetch(self, lease: Lease, _progress: Callable[[int], None]) -> str:
        """Copies it out of the archive, which is quick: nothing of that is shown."""

        def copy(stop: threading.Event) -> str:
            size, digest = self.size_bytes, self.digest
            with lease.writer(size, digest) as writer, self._open() as source:
                while chunk := source.read(_COPY_BYTES):
                    if stop.is_set():
                        raise StoppedError
                    writer.write(chunk)
                return writer.commit(self.media_type)

        return await in_thread(copy)

    def _open(self) -> BinaryIO:
        return io.BufferedReader(_Slice(self.archive, self.offset, self.size_bytes), 1 << 18)


class _Slice(io.RawIOBase):
    """A part of a file."""

    def __init__(self, path: str, offset: int, size: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 -- closed by close()
        self._file.seek(offset)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _regular(path: str, flags: int) -> int:
    """Open what is read several times, and without waiting for somebody to write it."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise InvalidInputError(f"archive {path} is no regular file: save it to one first")


def is_compressed(path: str) -> bool:
    """Whether the archive must go through `decompress` first.

    Raises:
        NotFoundError, InvalidInputError: it is no file that can be read.
    """
    try:
        with open(path, "rb", opener=_regular) as source:
            return compression.is_compressed(source.read(6))
    except FileNotFoundError:
        raise NotFoundError(f"archive {path} does not exist") from None
    except OSError as e:
        raise InvalidInputError(f"archive {path} cannot be read: {e.strerror}") from None


def decompress(path: str, target: str, stop: threading.Event) -> None:
    """Members are read in place, which takes a plain archive.

    Raises:
        InvalidInputError, UnsupportedError, NoSpaceError, StoppedError.
    """
    with (
        disk_full_is_no_space(f"archive {path}: decompressing"),
        open(path, "rb", opener=_regular) as source,
        open(target, "wb") as plain,
    ):
        for chunk in decompressed(source, f"archive {path}"):
            if stop.is_set():
                raise StoppedError
            plain.write(chunk)


def candidates(path: str, shown: str) -> list[Candidate]:
    """The images in the uncompressed archive at `path`, called `shown` in messages.

    Raises:
        InvalidInputError: it is no image archive, or a damaged or hostile one.
        UnsupportedError: no image in it is for this machine.
    """
    archive = _Archive(path, f"archive {shown}")
    if archive.has("manifest.json"):
        found = _docker_images(archive)
    elif archive.has("index.json") and archive.has("oci-layout"):
        found = _oci_images(archive)
    else:
        raise InvalidInputError(
            f"{archive.what} is no image archive: neither manifest.json (docker save) nor "
            "index.json and oci-layout (OCI) is in it"
        )
    if not found:
        raise InvalidInputError(f"{archive.what} holds no image")
    return found


class _Archive:
    """The members of one tar file by name."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self.what = what
        self._members: dict[str, _Member] = {}
        with open(path, "rb", opener=_regular) as source:
            stream = TarStream(source)
            try:
                for entry in stream:
                    self._note(entry, stream.offset)
            except BadTarError as e:
                raise InvalidInputError(f"{what}: {e}") from None

    def _note(self, entry: tarstream.Entry, offset: int) -> None:
        name = _normal(entry.name)
        if entry.type == tarstream.REGULAR:
            self._members[name] = _Member(offset, entry.size)
        elif entry.type == tarstream.SYMBOLIC_LINK:
            # docker save writes a layer once and links to it.
            target = posixpath.join(posixpath.dirname(name), _text(entry.link))
            self._members[name] = _Member(0, 0, posixpath.normpath(target))
        elif entry.type == tarstream.HARD_LINK:
            self._members[name] = _Member(0, 0, _normal(entry.link))
        if len(self._members) > _MAX_MEMBERS:
            raise BadTarError(f"more than {_MAX_MEMBERS} files")

    def has(self, name: str) -> bool:
        return name in self._members

    def member(self, name: Any) -> _Member:
        if not isinstance(name, str):
            raise InvalidInputError(f"{self.what}: a file name in it is no string")
        key = posixpath.normpath(name)
        for _ in range(_MAX_NESTING):
            found = self._members.get(key)
            if found is None:
                break
            if found.link is None:
                return found
            key = found.link
        raise InvalidInputError(f"{self.what} lacks {name[:120]!r}, which it refers to")

    def small(self, name: Any) -> bytes:
        """The content of a manifest or a config."""
        found = self.member(name)
        if found.size > manifest.MAX_BYTES:
            raise InvalidInputError(
                f"{self.what}: {name[:120]!r} has {found.size} bytes, more than "
                f"{manifest.MAX_BYTES}"
            )
        with open(self.path, "rb") as source:
            source.seek(found.offset)
            return source.read(found.size)

    def blob(self, wanted: manifest.Descriptor) -> bytes:
        raw = self.small(_blob_name(wanted.digest))
        actual = digest_of(raw)
        if actual != wanted.digest:
            raise InvalidInputError(f"{self.what}: blob {wanted.digest} has the digest {actual}")
        return raw

    def layer(
        self, name: Any, shown: str, media_type: str, digest: str | None = None
    ) -> _ArchivedLayer:
        found = self.member(name)
        return _ArchivedLayer(self.path, found.offset, found.size, shown, media_type, digest)

    def starts_compressed(self, name: Any) -> bool:
        with open(self.path, "rb") as source:
            source.seek(self.member(name).offset)
            return compression.is_compressed(source.read(6))


def _docker_images(archive: _Archive) -> list[Candidate]:
    try:
        entries = json.loads(archive.small("manifest.json"))
    except (ValueError, RecursionError) as e:
        raise InvalidInputError(f"{archive.what}: manifest.json is not JSON: {e}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInputError(f"{archive.what}: manifest.json is not a list of objects")
    return [_docker_image(archive, entry) for entry in entries]


def _docker_image(archive: _Archive, entry: dict[str, Any]) -> Candidate:
    layers, tags = entry.get("Layers") or [], entry.get("RepoTags") or []
    if not isinstance(layers, list) or not isinstance(tags, list):
        raise InvalidInputError(f"{archive.what}: Layers or RepoTags in it is not a list")
    if len(layers) > MAX_LAYERS:
        raise UnsupportedError(f"{archive.what} has {len(layers)} layers, more than {MAX_LAYERS}")
    return Candidate(
        archive.what,
        archive.small(entry.get("Config")),
        manifest.DOCKER_CONFIG,
        tuple(_docker_layer(archive, name) for name in layers),
        tuple(_name(archive, tag) for tag in tags),
    )


def _docker_layer(archive: _Archive, name: Any) -> _ArchivedLayer:
    """Docker itself writes plain ones."""
    gzip = ".gzip" if archive.starts_compressed(name) else ""
    return archive.layer(name, _layer_shown(name), manifest.DOCKER_LAYER + gzip)


def _oci_images(archive: _Archive) -> list[Candidate]:
    raw = archive.small("index.json")
    index = manifest.parse(raw, f"{archive.what}: index.json")
    if not isinstance(index, manifest.Index):
        raise InvalidInputError(f"{archive.what}: index.json is no index")
    named: dict[str | None, list[tuple[manifest.Platform | None, manifest.Descriptor]]] = {}
    for entry, found in zip(index.entries, json.loads(raw)["manifests"], strict=True):
        named.setdefault(_oci_name(archive, found), []).append(entry)
    images = []
    for name, entries in named.items():
        targets = _for_this_machine(entries, archive.what)
        images += [_oci_image(archive, target, name) for target in targets]
    return images


def _for_this_machine(
    entries: list[tuple[manifest.Platform | None, manifest.Descriptor]], what: str
) -> list[manifest.Descriptor]:
    """One image of the several platforms listed, and every one that says no platform."""
    unnamed = [target for platform, target in entries if platform is None]
    platforms = tuple(entry for entry in entries if entry[0] is not None)
    if len(platforms) == 1:
        return [*unnamed, platforms[0][1]]
    return [*unnamed, manifest.Index(platforms).choose(what)] if platforms else unnamed


def _oci_image(archive: _Archive, target: manifest.Descriptor, name: str | None) -> Candidate:
    names = (name,) if name else ()
    documents: tuple[manifest.Document, ...] = ()
    for _ in range(_MAX_NESTING):
        read = manifest.read(archive.blob(target), f"{archive.what}: {target.digest[:19]}")
        documents += (read,)
        found = read.found
        if isinstance(found, manifest.Manifest):
            layers = tuple(_oci_layer(archive, layer) for layer in found.layers)
            config = archive.blob(found.config)
            kind = found.config.media_type
            return Candidate(archive.what, config, kind, layers, names, documents)
        target = found.choose(archive.what)
    raise InvalidInputError(f"{archive.what}: indexes lie in indexes more than {_MAX_NESTING} deep")


def _oci_layer(archive: _Archive, wanted: manifest.Descriptor) -> _ArchivedLayer:
    name, shown = _blob_name(wanted.digest), wanted.digest[7:19]
    return archive.layer(name, shown, wanted.media_type, wanted.digest)


def _oci_name(archive: _Archive, entry: dict[str, Any]) -> str | None:
    """The canonical name, or none: of a bare tag, which names no image, or with a digest."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    name = annotations.get(_CONTAINERD_NAME) or annotations.get(_OCI_NAME)
    if not isinstance(name, str) or not (":" in name or "/" in name) or "@" in name:
        return None
    return _name(archive, name)


def _name(archive: _Archive, text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidInputError(f"{archive.what}: an image name in it is no string")
    try:
        found = reference.parse(text)
    except CgagentError as e:
        raise InvalidInputError(f"{archive.what}: {e.message}") from None
    if found.digest:  # what an archive claims; a registry's answer is compared with it
        raise InvalidInputError(f"{archive.what}: image name {text!r} in it has a digest")
    return str(found)


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _layer_shown(name: Any) -> str:
    return str(name).removesuffix("/layer.tar").rpartition("/")[2][:12]


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _normal(name: bytes) -> str:
    return posixpath.normpath(_text(name).lstrip("/"))
