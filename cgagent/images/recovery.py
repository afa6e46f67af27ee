"""Second copies of images' rows, and what is made again of them when the database has lost some.

``<data root>/images/<hex of the id>.json`` has the image's configuration as its author wrote it and
the names it has here. Its layers are found by their diff ids; theirs are in ``layer.json`` beside
each (see `cgagent.images.layers`).
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from cgagent.errors import InvalidInputError
from cgagent.images.image import parse_config
from cgagent.images.layers import chain_ids
from cgagent.store import recordfiles
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgagent.images.layers import LayerStore
    from cgagent.store.images import ImageRecord, ImageRecords


class ImageFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with disk_full_is_no_space(f"image directory {directory}"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, record: ImageRecord) -> None:
        """After its rows."""
        text = record.config.decode("utf-8", "surrogateescape")
        recordfiles.write(self._path(record.id), {"config": text, "names": record.names})

    def forget(self, image_id: str) -> None:
        """Before its rows. The file goes: an image may come back under its id."""
        with contextlib.suppress(FileNotFoundError):
            self._path(image_id).unlink()

    def has(self, image_id: str) -> bool:
        return self._path(image_id).exists()

    def all(self) -> Iterator[tuple[str, bytes, list[str]]]:
        """Id, configuration and names of each; what is damaged is left out."""
        for path in sorted(self._directory.glob("*.json")):
            with contextlib.suppress(recordfiles.DamagedRecordError):
                found = _understood(recordfiles.read(path))
                if found is not None and hashlib.sha256(found[0]).hexdigest() == path.stem:
                    yield f"sha256:{path.stem}", *found

    def _path(self, image_id: str) -> Path:
        return self._directory / f"{image_id.removeprefix('sha256:')}.json"


def _understood(value: dict[str, Any] | None) -> tuple[bytes, list[str]] | None:
    match value:
        case {"config": str(text), "names": list(names)} if all(isinstance(n, str) for n in names):
            return text.encode("utf-8", "surrogateescape"), names
        case _:
            return None


def recover(records: ImageRecords, layers: LayerStore, files: ImageFiles) -> list[str]:
    """Make layers and images agree with what is on disk; a line about each image that changed."""
    layers.recover()
    told = []
    for image_id, config, names in files.all():
        if records.get(image_id) is None and _restore(records, layers, image_id, config):
            for name in names:
                if records.id_of(name) is None:
                    records.set_name(name, image_id)
            told.append(f"image {image_id[:19]} ({', '.join(names)}) was lost and is there again")
    for layer in layers.missing():
        for image_id in records.having_layer(layer.chain_id):
            told.append(f"image {image_id[:19]}: its layer {layer.chain_id[:19]} is gone")
            if not records.rootfs_users(image_id):  # it can be pulled again then
                files.forget(image_id)
                records.delete(image_id)
    for record in records.all():
        if not files.has(record.id):
            files.keep(record)
    return told


def _restore(records: ImageRecords, layers: LayerStore, image_id: str, config: bytes) -> bool:
    try:
        chain = chain_ids(parse_config(config, f"image {image_id}").diff_ids)
    except InvalidInputError:
        return False
    if not all(map(layers.has, chain)):
        return False
    records.add(image_id, config, chain)
    return True
