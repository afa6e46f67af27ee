"""Images made again of their blobs: of layers that are lost, and of rows that the database lost.

``<data root>/images/<hex of the id>.json`` is the second copy of an image's rows: what each of its
names stands for, its manifest, and without one its layers' blobs. Everything else is in the blobs.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cgagent.errors import CgagentError, InternalError, InvalidInputError, NoSpaceError
from cgagent.images import manifest
from cgagent.images.image import parse_config
from cgagent.images.layers import chain_ids
from cgagent.images.reference import is_digest
from cgagent.images.unpacking import Reader
from cgagent.store import recordfiles
from cgagent.store.content import Blob
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cgagent.images.content import ContentStore
    from cgagent.images.layers import LayerStore
    from cgagent.store.images import ImageRecord, ImageRecords


@dataclass(frozen=True, slots=True)
class ImageFile:
    id: str
    targets: Mapping[str, str]
    manifest: str | None
    layers: tuple[str, ...]
    """Digests of blobs, bottom first; empty where there is a manifest."""


class ImageFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with disk_full_is_no_space(f"image directory {directory}", directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, record: ImageRecord, layers: Sequence[str]) -> None:
        """After its rows; it is on disk then. `layers` are what its config refers to."""
        found = {"names": dict(record.targets), "manifest": record.manifest, "layers": layers}
        recordfiles.write(self._path(record.id), found, sync=True)

    def forget(self, image_id: str) -> None:
        """Before its rows. The file goes: an image may come back under its id."""
        with contextlib.suppress(FileNotFoundError):
            self._path(image_id).unlink()

    def has(self, image_id: str) -> bool:
        return self._path(image_id).exists()

    def all(self) -> Iterator[ImageFile]:
        """What is damaged is left out."""
        for path in sorted(self._directory.glob("*.json")):
            with contextlib.suppress(recordfiles.DamagedRecordError):
                found = _understood(f"sha256:{path.stem}", recordfiles.read(path))
                if found is not None:
                    yield found

    def _path(self, image_id: str) -> Path:
        return self._directory / f"{image_id.removeprefix('sha256:')}.json"


def _understood(image_id: str, value: dict[str, Any] | None) -> ImageFile | None:
    match value:
        case {"names": dict(names), "manifest": str() | None as found, "layers": list(layers)}:
            digests = [image_id, *names.values(), *layers, *([found] if found else [])]
            if all(isinstance(d, str) and is_digest(d) for d in digests):
                return ImageFile(image_id, names, found, tuple(layers))
    return None


def unpack_again(
    content: ContentStore,
    layers: LayerStore,
    chain: Sequence[str],
    diff_id: str,
    stop: threading.Event,
) -> None:
    """The layer that `chain` ends with, if it is lost; those below it are there.

    Raises:
        InternalError: no blob is here that it could be unpacked from.
        NoSpaceError, StoppedError.
    """
    if layers.has(chain[-1]):
        return
    for blob in content.records.of_diff(diff_id):
        if content.has(blob.digest):
            with (
                contextlib.suppress(InvalidInputError),
                content.open(blob.digest) as stream,
                contextlib.closing(layers.unpacking_process()) as process,
            ):
                reader = Reader(stream, stop, lambda _: None)
                layers.add(reader, chain, diff_id, process)
                return
    raise InternalError(
        f"layer {chain[-1][:19]} is lost and cannot be unpacked again, as its blob is missing or "
        "damaged; 'cgagent system check --repair' fetches it again"
    )


class Recovery:
    """At the agent's start, before the sweep."""

    def __init__(
        self, records: ImageRecords, content: ContentStore, layers: LayerStore, files: ImageFiles
    ) -> None:
        self._records = records
        self._content = content
        self._layers = layers
        self._files = files

    def run(self) -> list[str]:
        """Make rows, blobs and layers agree; a line about each image that changed."""
        self._layers.recover()
        lost = [file for file in self._files.all() if self._records.get(file.id) is None]
        told = [self._restore(file) for file in lost]
        for record in self._records.all(removed=True):
            told += self._complete(record)
        for record in self._records.all():
            if not self._files.has(record.id):
                self._files.keep(record, self._content.records.links(record.id))
        return told

    def _restore(self, file: ImageFile) -> str:
        what = f"image {file.id[:19]} ({', '.join(file.targets)})"
        try:
            config = self._content.read(file.id)
            diff_ids = parse_config(config, what).diff_ids
            self._restore_blobs(file, config, diff_ids, what)
            chain = chain_ids(diff_ids)
            for n, diff_id in enumerate(diff_ids, 1):
                self._unpack(chain[:n], diff_id)
            self._restore_rows(file, config, chain)
        except NoSpaceError as e:
            return f"{what} was lost and cannot be made again yet: {e.message}"
        except CgagentError as e:
            self._files.forget(file.id)
            return f"{what} was lost and cannot be made again: {e.message}"
        return f"{what} was lost and is there again"

    def _restore_rows(self, file: ImageFile, config: bytes, chain: Sequence[str]) -> None:
        with self._records.transaction():
            self._records.add(file.id, config, file.manifest, chain)
            for name, target in file.targets.items():
                if self._records.id_of(name) is None:
                    self._records.set_name(name, file.id, target)

    def _restore_blobs(
        self, file: ImageFile, config: bytes, diff_ids: Sequence[str], what: str
    ) -> None:
        """Rows of all blobs of an image that are here."""
        self._add(Blob(file.id, manifest.DOCKER_CONFIG, len(config)))
        self._content.records.set_links(file.id, file.layers)
        for digest, diff_id in zip(file.layers, diff_ids, strict=False):
            self._restore_layer(Blob(digest, manifest.DOCKER_LAYER, 0, diff_id))
        diffs = {file.id: diff_ids}
        if file.manifest is not None:
            self._restore_document(file.manifest, diffs, what)
        for target in set(file.targets.values()) - {file.id, file.manifest}:
            with contextlib.suppress(CgagentError):  # the image does without its index
                self._restore_document(target, diffs, what)

    def _restore_document(self, digest: str, diffs: Mapping[str, Sequence[str]], what: str) -> None:
        """`diffs`: of a config, the diff ids in it."""
        document = manifest.read(self._content.read(digest), what)
        self._add(Blob(digest, document.media_type, len(document.raw)))
        self._content.records.set_links(digest, document.found.links)
        if isinstance(document.found, manifest.Index):
            for child in document.found.links:
                size_bytes = self._content.size_bytes(child)
                # those for other platforms are not here
                if size_bytes is not None and size_bytes <= manifest.MAX_BYTES:
                    self._restore_document(child, diffs, what)
            return
        self._restore_layer(_blob(document.found.config))
        diff_ids = diffs.get(document.found.config.digest, ())
        for layer, diff_id in zip(document.found.layers, diff_ids, strict=False):
            self._restore_layer(_blob(layer, diff_id))

    def _restore_layer(self, blob: Blob) -> None:
        size_bytes = self._content.size_bytes(blob.digest)
        if size_bytes is not None and blob.size_bytes in (0, size_bytes):
            self._add(Blob(blob.digest, blob.media_type, size_bytes, blob.diff_id))

    def _add(self, blob: Blob) -> None:
        self._content.records.add(blob)

    def _unpack(self, chain: Sequence[str], diff_id: str) -> None:
        unpack_again(self._content, self._layers, chain, diff_id, threading.Event())

    def _complete(self, record: ImageRecord) -> list[str]:
        """Unpack lost layers again. An image where that cannot be done goes: it can be pulled."""
        what = f"image {record.id[:19]} ({', '.join(record.names)})"
        chain = [layer.chain_id for layer in record.layers]
        told = []
        try:
            for n, layer in enumerate(record.layers, 1):
                if not self._layers.is_whole(layer):
                    self._unpack(chain[:n], layer.diff_id)
                    told.append(f"{what}: its layer {chain[n - 1][:19]} was unpacked again")
        except CgagentError as e:
            told.append(f"{what}: {e.message}")
            in_use = self._records.rootfs_users(record.id)
            if not in_use and not isinstance(e, NoSpaceError):
                self._files.forget(record.id)
                self._records.delete(record.id)
        return told


def _blob(found: manifest.Descriptor, diff_id: str | None = None) -> Blob:
    return Blob(found.digest, found.media_type, found.size, diff_id)
