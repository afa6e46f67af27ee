"""A manifest for an image that came without one: from ``docker save``, or from a commit.

Layers that are plain tars are compressed once, to the same bytes each time, and kept.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import StoppedError
from cgagent.errors import NotFoundError
from cgagent.images import compression, manifest
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from cgagent.images.content import ContentStore, Lease
    from cgagent.store.content import Blob
    from cgagent.store.images import ImageRecord

_READ_BYTES: Final = 1 << 18
_LEVEL: Final = 4
_GZIP: Final = 16 + zlib.MAX_WBITS
"""A header without a time and a name: the same bytes each time."""


def make(
    record: ImageRecord,
    content: ContentStore,
    lease: Lease,
    stop: threading.Event,
    progress: Callable[[str, int, int], None],
) -> manifest.Document:
    """The manifest, which is in the store and in the lease with the layers that it names.

    `progress` is told of a layer's compression: its digest, bytes done, of how many.

    Raises:
        NotFoundError: a blob is lost.
    """
    config = content.records.get(record.id)
    is_oci = config is not None and config.media_type == manifest.OCI_CONFIG
    layers = [
        _layer(diff_id, content, lease, stop, progress, with_zstd=is_oci)
        for diff_id in (layer.diff_id for layer in record.layers)
    ]
    kind = manifest.DOCKER_LAYER + ".gzip"
    body = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST if is_oci else manifest.DOCKER_MANIFEST,
        "config": {
            "mediaType": manifest.OCI_CONFIG if is_oci else manifest.DOCKER_CONFIG,
            "size": len(record.config),
            "digest": record.id,
        },
        "layers": [
            {
                "mediaType": _form(blob, content)[1] if is_oci else kind,
                "size": blob.size_bytes,
                "digest": blob.digest,
            }
            for blob in layers
        ],
    }
    raw = json.dumps(body, indent=3 if not is_oci else None).encode()
    document = manifest.read(raw, f"image {record.id}")
    content.sync([lease.put(raw, document.media_type)])
    content.records.set_links(document.digest, document.found.links)
    return document


def _form(blob: Blob, content: ContentStore) -> tuple[str, str]:
    """How a layer's blob is compressed, and what OCI calls it; empty: as no registry keeps it."""
    with content.open(blob.digest) as file:
        head = file.read(4)
    for name, magic in (("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")):
        if head.startswith(magic):
            return name, f"{manifest.OCI_LAYER}+{name}"
    return "", ""


def _layer(
    diff_id: str,
    content: ContentStore,
    lease: Lease,
    stop: threading.Event,
    progress: Callable[[str, int, int], None],
    *,
    with_zstd: bool,
) -> Blob:
    """The compressed blob of a layer, made of the plain one if need be."""
    found = [blob for blob in content.records.of_diff(diff_id) if content.has(blob.digest)]
    if not found:
        raise NotFoundError(f"layer {diff_id} is not here; 'cgagent system check' says more")
    lease.hold(blob.digest for blob in found)
    fitting = ("gzip", "zstd") if with_zstd else ("gzip",)
    for blob in found:
        if _form(blob, content)[0] in fitting:
            return blob
    plain = found[0]
    with content.scratch() as path:
        size = _compress(content.open(plain.digest), path, plain, stop, progress)
        with lease.writer(size) as writer, path.open("rb") as source:
            while chunk := source.read(_READ_BYTES):
                writer.write(chunk)
            digest = writer.commit(manifest.DOCKER_LAYER + ".gzip")
    content.sync([digest])
    content.records.set_diff_id(digest, diff_id)
    made = content.records.get(digest)
    if made is None:
        raise NotFoundError(f"blob {digest} is gone already")
    return made


def _compress(
    source: BinaryIO,
    target: Path,
    plain: Blob,
    stop: threading.Event,
    progress: Callable[[str, int, int], None],
) -> int:
    """The size of the file."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    done = 0
    full = disk_full_is_no_space(f"blob {plain.digest}", target)
    with source, target.open("wb") as file, full:
        for chunk in compression.decompressed(source, f"blob {plain.digest}"):
            if stop.is_set():
                raise StoppedError
            file.write(packer.compress(chunk))
            done += len(chunk)
            progress(plain.digest, done, plain.size_bytes)
        file.write(packer.flush())
        file.flush()
        return file.tell()
