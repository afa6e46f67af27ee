"""Writing archives of images, as a stream: what ``docker save`` writes, and either half of it.

An archive of docker's current form is an OCI image layout with a manifest.json, so that old tools
read it, too. Blobs are written as they came, each once, so their digests survive. The same images
give the same bytes. https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from cgagent.errors import NotFoundError
from cgagent.images import manifest, reference
from cgagent.images.archives.members import CONTAINERD_NAME, OCI_NAME, blob_name
from cgagent.images.compression import decompressed
from cgagent.images.content import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cgagent.images.content import ContentStore
    from cgagent.store.images import ImageRecord

Form: TypeAlias = Literal["docker", "oci-archive", "docker-archive"]

_CHUNK: Final = 1 << 20
_OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_SUFFIXES: Final = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image to be saved under some of its names, or none."""

    record: ImageRecord
    names: tuple[str, ...]

    @classmethod
    def of(cls, record: ImageRecord, repository: str) -> Wanted:
        """With its tags in a repository."""
        its = (n for n in record.names if "@" not in n and reference.parse(n).name == repository)
        return cls(record, tuple(its))

    @property
    def tags(self) -> list[reference.Reference]:
        return [reference.parse(name) for name in self.names if "@" not in name]


def together(images: Iterable[Wanted]) -> list[Wanted]:
    """Each image once, under all names that it is wanted by."""
    found: dict[str, Wanted] = {}
    for image in images:
        before = found.get(image.record.id, Wanted(image.record, ()))
        names = dict.fromkeys((*before.names, *image.names))
        found[image.record.id] = Wanted(image.record, tuple(names))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of the archive."""

    size: int
    read: Callable[[], Iterator[bytes]]


def chunks(content: ContentStore, images: Sequence[Wanted], form: Form) -> Iterator[bytes]:
    """The archive. The caller holds a lease on all that the images consist of.

    Raises:
        NotFoundError: a blob of them is lost; before the first byte.
    """
    archive = _Archive(content)
    if form == "docker-archive":
        archive.add_docker(images)
    else:
        archive.add_oci(images)
        if form == "docker":
            archive.add_docker_index(images)
    return archive.stream()


@dataclass(slots=True)
class _Archive:
    content: ContentStore
    parts: dict[str, _Part] = field(default_factory=dict)

    def stream(self) -> Iterator[bytes]:
        for name, part in sorted(self.parts.items()):
            yield _header(name, part.size)
            yield from part.read()
            yield bytes(-part.size % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _add(self, name: str, raw: bytes) -> None:
        self.parts[name] = _Part(len(raw), lambda: iter((raw,)))

    def _add_json(self, name: str, value: Any) -> None:
        self._add(name, _json(value))

    # -- an OCI image layout --------------------------------------------------------------------

    def add_oci(self, images: Sequence[Wanted]) -> None:
        listed: list[dict[str, Any]] = []
        for image in images:
            listed += self._oci_entries(image)
        self._add("oci-layout", _LAYOUT)
        index = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": listed}
        self._add_json("index.json", index)

    def _oci_entries(self, image: Wanted) -> list[dict[str, Any]]:
        """A descriptor for each name, as docker has it."""
        record = image.record
        self._add_blob(record.id)
        if record.manifest is None:
            made = self._made_manifest(record)
            return [{**made, **_annotations(tag)} for tag in image.tags] or [made]
        self._add_tree(record.manifest)
        found = []
        for tag in image.tags:
            target = record.targets[str(tag)]
            self._add_tree(target)
            found.append({**self._descriptor(target), **_annotations(tag)})
        return found or [self._descriptor(record.manifest)]

    def _add_tree(self, digest: str) -> None:
        """A document with what it refers to, as far as that is here."""
        self._add_blob(digest)
        for child in self.content.records.links(digest):
            if self.content.has(child):
                self._add_tree(child)

    def _made_manifest(self, record: ImageRecord) -> dict[str, Any]:
        """For an image that came without one; the same each time."""
        layers = []
        for digest in self.content.records.links(record.id):
            self._add_blob(digest)
            layers.append({**self._descriptor(digest), "mediaType": self._layer_type(digest)})
        raw = _json(
            {
                "schemaVersion": 2,
                "mediaType": manifest.OCI_MANIFEST,
                "config": {**self._descriptor(record.id), "mediaType": _OCI_CONFIG},
                "layers": layers,
            }
        )
        self._add(blob_name(digest_of(raw)), raw)
        return _described(manifest.OCI_MANIFEST, digest_of(raw), len(raw))

    def _layer_type(self, digest: str) -> str:
        with self.content.open(digest) as file:
            return _OCI_LAYER + _SUFFIXES.get(file.read(2), "")

    def _descriptor(self, digest: str) -> dict[str, Any]:
        blob = self.content.records.get(digest)
        if blob is None:
            raise NotFoundError(f"blob {digest} is lost; 'cgagent system check' says more")
        return _described(blob.media_type, digest, blob.size_bytes)

    def _add_blob(self, digest: str) -> None:
        if not self.content.has(digest):
            raise NotFoundError(f"blob {digest} is lost; 'cgagent system check' says more")
        size = cast("int", self.content.size_bytes(digest))
        self.parts[blob_name(digest)] = _Part(size, lambda: _blob(self.content, digest))

    # -- what docker save writes ----------------------------------------------------------------

    def add_docker_index(self, images: Sequence[Wanted]) -> None:
        """manifest.json and repositories, which refer to the blobs of the OCI layout."""
        self._add_docker_documents(images, blob_name, blob_name, self._layers)

    def add_docker(self, images: Sequence[Wanted]) -> None:
        """In the form of before OCI: plain layers, since old readers know no others."""
        for image in images:
            self._add(_config_name(image.record.id), self.content.read(image.record.id))
            layers = self._layers(image.record)
            for digest, layer in zip(layers, image.record.layers, strict=True):
                name = _tar_name(layer.diff_id)
                if name not in self.parts:
                    size = sum(map(len, _plain(self.content, digest)))
                    self.parts[name] = _plain_part(self.content, digest, size)
        self._add_docker_documents(
            images, _config_name, _tar_name, lambda record: [x.diff_id for x in record.layers]
        )

    def _add_docker_documents(
        self,
        images: Sequence[Wanted],
        config_name: Callable[[str], str],
        layer_name: Callable[[str], str],
        layers: Callable[[ImageRecord], Sequence[str]],
    ) -> None:
        listing = []
        repositories: dict[str, dict[str, str]] = {}
        for image in images:
            names = [layer_name(digest) for digest in layers(image.record)]
            entry = {
                "Config": config_name(image.record.id),
                "RepoTags": [tag.familiar for tag in image.tags] or None,
                "Layers": names,
            }
            listing.append(entry)
            for tag in image.tags:
                top = image.record.layers[-1].diff_id if image.record.layers else image.record.id
                repositories.setdefault(tag.familiar_name, {})[tag.tag or ""] = top[7:]
        self._add_json("manifest.json", listing)
        self._add_json("repositories", repositories)

    def _layers(self, record: ImageRecord) -> Sequence[str]:
        """The digests of the blobs that its layers are unpacked from."""
        links = self.content.records.links(record.manifest or record.id)
        return links if record.manifest is None else links[1:]


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _described(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _annotations(tag: reference.Reference) -> dict[str, Any]:
    return {"annotations": {CONTAINERD_NAME: str(tag), OCI_NAME: tag.tag}}


def _config_name(image_id: str) -> str:
    return f"{image_id[7:]}.json"


def _tar_name(diff_id: str) -> str:
    return f"{diff_id[7:]}.tar"


def _plain_part(content: ContentStore, digest: str, size: int) -> _Part:
    return _Part(size, lambda: _plain(content, digest))


def _plain(content: ContentStore, digest: str) -> Iterator[bytes]:
    with content.open(digest) as file:
        yield from decompressed(file, f"layer {digest[:19]}")


def _blob(content: ContentStore, digest: str) -> Iterator[bytes]:
    with content.open(digest) as file:
        while data := file.read(_CHUNK):
            yield data
