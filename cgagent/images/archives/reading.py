"""Images in archives: what ``docker save`` writes, and OCI image layouts, in a tar or a directory.

Only reads: members are found by name and read in place, never written under a name that the
archive chose. https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import StoppedError
from cgagent.errors import CgagentError, InvalidInputError, UnsupportedError
from cgagent.images import compression, manifest, reference
from cgagent.images.archives.members import CONTAINERD_NAME, OCI_NAME, blob_name
from cgagent.images.candidate import Candidate
from cgagent.images.content import digest_of
from cgagent.images.layers import MAX_LAYERS

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from cgagent.images.archives.members import Members
    from cgagent.images.content import BlobWriter

_COPY_BYTES: Final = 1 << 20
_MAX_DOCUMENT_BYTES: Final = 128 << 20
_MAX_NESTING: Final = 4


@dataclass(frozen=True, slots=True)
class _ArchivedLayer:
    """A `LayerSource` that lies in the archive."""

    members: Members
    name: str
    size_bytes: int
    shown: str
    media_type: str
    digest: str | None
    origin: str = ""

    def fetch(
        self, writer: BlobWriter, stop: threading.Event, _progress: Callable[[int], None]
    ) -> None:
        """Copies it, which is quick: nothing of that is shown."""
        with self.members.open(self.name) as source:
            while chunk := source.read(_COPY_BYTES):
                if stop.is_set():
                    raise StoppedError
                writer.write(chunk)


def candidates(members: Members) -> list[Candidate]:
    """The images in an archive.

    Raises:
        InvalidInputError: it is no image archive, or a damaged or hostile one.
        UnsupportedError: no image in it is for this machine.
    """
    archive = _Archive(members)
    if archive.has("index.json") and archive.has("oci-layout"):
        found = _named_as_docker_does(archive, _oci_images(archive))
    elif archive.has("manifest.json"):
        found = _docker_images(archive)
    else:
        raise InvalidInputError(
            f"{archive.what} is no image archive: neither manifest.json (docker save) nor "
            "index.json and oci-layout (OCI) is in it"
        )
    if not found:
        raise InvalidInputError(f"{archive.what} holds no image")
    return found


class _Archive:
    """The documents and layers of one archive."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.what = members.what
        self.has = members.has
        self._left = _MAX_DOCUMENT_BYTES

    def size(self, name: Any) -> int:
        if not isinstance(name, str):
            raise InvalidInputError(f"{self.what}: a file name in it is no string")
        return self.members.size(name)

    def small(self, name: Any) -> bytes:
        """The content of a manifest or a config."""
        size = self.size(name)
        if size > manifest.MAX_BYTES:
            raise InvalidInputError(
                f"{self.what}: {name[:120]!r} has {size} bytes, more than {manifest.MAX_BYTES}"
            )
        self._left -= size  # also of what is read again for the next image, and kept once more
        if self._left < 0:
            raise InvalidInputError(
                f"{self.what}: the manifests and configs of its images have more than "
                f"{_MAX_DOCUMENT_BYTES} bytes"
            )
        with self.members.open(name) as source:
            return source.read(size)

    def blob(self, wanted: manifest.Descriptor) -> bytes:
        raw = self.small(blob_name(wanted.digest))
        actual = digest_of(raw)
        if actual != wanted.digest:
            raise InvalidInputError(f"{self.what}: blob {wanted.digest} has the digest {actual}")
        return raw

    def layer(
        self, name: Any, shown: str, media_type: str, digest: str | None = None
    ) -> _ArchivedLayer:
        size = self.size(name)
        return _ArchivedLayer(self.members, name, size, shown, media_type, digest)

    def starts_compressed(self, name: str) -> bool:
        with self.members.open(name) as source:
            return compression.is_compressed(source.read(6))


def _named_as_docker_does(archive: _Archive, images: list[Candidate]) -> list[Candidate]:
    """With the tags that only manifest.json has, in an archive that is in both formats."""
    if not archive.has("manifest.json"):
        return images
    tags = {
        digest_of(archive.small(entry.get("Config"))): _tags(archive, entry)
        for entry in _docker_entries(archive)
    }
    named = {name for image in images for name in image.names}
    found = []
    for image in images:
        more = tuple(t for t in tags.pop(digest_of(image.config), ()) if t not in named)
        found.append(replace(image, names=(*image.names, *more)))
    return found


def _docker_images(archive: _Archive) -> list[Candidate]:
    return [_docker_image(archive, entry) for entry in _docker_entries(archive)]


def _docker_entries(archive: _Archive) -> list[dict[str, Any]]:
    try:
        entries = json.loads(archive.small("manifest.json"))
    except (ValueError, RecursionError) as e:
        raise InvalidInputError(f"{archive.what}: manifest.json is not JSON: {e}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInputError(f"{archive.what}: manifest.json is not a list of objects")
    return entries


def _docker_image(archive: _Archive, entry: dict[str, Any]) -> Candidate:
    layers = entry.get("Layers") or []
    if not isinstance(layers, list):
        raise InvalidInputError(f"{archive.what}: Layers in it is not a list")
    if len(layers) > MAX_LAYERS:
        raise UnsupportedError(f"{archive.what} has {len(layers)} layers, more than {MAX_LAYERS}")
    return Candidate(
        archive.what,
        archive.small(entry.get("Config")),
        manifest.DOCKER_CONFIG,
        tuple(_docker_layer(archive, name) for name in layers),
        _tags(archive, entry),
    )


def _tags(archive: _Archive, entry: dict[str, Any]) -> tuple[str, ...]:
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list):
        raise InvalidInputError(f"{archive.what}: RepoTags in it is not a list")
    return tuple(_name(archive, tag) for tag in tags)


def _docker_layer(archive: _Archive, name: Any) -> _ArchivedLayer:
    """Docker itself writes plain ones."""
    found = archive.layer(name, _layer_shown(name), manifest.DOCKER_LAYER)
    if archive.starts_compressed(name):
        return replace(found, media_type=f"{manifest.DOCKER_LAYER}.gzip")
    return found


def _oci_images(archive: _Archive) -> list[Candidate]:
    raw = archive.small("index.json")
    index = manifest.parse(raw, f"{archive.what}: index.json")
    if not isinstance(index, manifest.Index):
        raise InvalidInputError(f"{archive.what}: index.json is no index")
    named: dict[str | None, list[tuple[manifest.Platform | None, manifest.Descriptor]]] = {}
    for entry, listed in zip(index.entries, json.loads(raw)["manifests"], strict=True):
        named.setdefault(_oci_name(archive, listed), []).append(entry)
    found: dict[manifest.Descriptor, list[str]] = {}
    for name, entries in named.items():
        for target in _for_this_machine(entries, archive.what):
            found.setdefault(target, []).extend(filter(None, (name,)))
    return [_oci_image(archive, target, tuple(names)) for target, names in found.items()]


def _for_this_machine(
    entries: list[tuple[manifest.Platform | None, manifest.Descriptor]], what: str
) -> list[manifest.Descriptor]:
    """One image of the several platforms listed, and every one that says no platform."""
    unnamed = [target for platform, target in entries if platform is None]
    platforms = tuple(entry for entry in entries if entry[0] is not None)
    if len(platforms) == 1:
        return [*unnamed, platforms[0][1]]
    return [*unnamed, manifest.Index(platforms).choose(what)] if platforms else unnamed


def _oci_image(archive: _Archive, target: manifest.Descriptor, names: tuple[str, ...]) -> Candidate:
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
    name, shown = blob_name(wanted.digest), wanted.digest[7:19]
    return archive.layer(name, shown, wanted.media_type, wanted.digest)


def _oci_name(archive: _Archive, entry: dict[str, Any]) -> str | None:
    """The canonical name, or none: of a bare tag, which names no image, or with a digest."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    name = annotations.get(CONTAINERD_NAME) or annotations.get(OCI_NAME)
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


def _layer_shown(name: Any) -> str:
    return str(name).removesuffix("/layer.tar").rpartition("/")[2][:12]
