"""A tiny image in the store of an agent that does not run, without a registry or an archive."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgagent.images import reference
from cgagent.images.layers import LayerStore
from cgagent.store import Database
from cgagent.store.images import ImageRecords

if TYPE_CHECKING:
    from collections.abc import Mapping


def add(data_root: Path, name: str, config: Mapping[str, Any]) -> str:
    """An image of one layer with one file; `config` is that of its OCI configuration. The id."""
    layer = hashlib.sha256(name.encode()).hexdigest()
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
    }
    raw = json.dumps(document).encode()
    image_id = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    data_root.mkdir(parents=True, exist_ok=True)
    database = Database(data_root)
    try:
        records = ImageRecords(database)
        with records.transaction():
            row = records.add_layer(f"sha256:{layer}", f"sha256:{layer}", 5, None)
            records.add(image_id, raw, None, [f"sha256:{layer}"])
            records.set_name(str(reference.parse(name)), image_id, image_id)
        (link,) = LayerStore(data_root, records).lowers([row])
    finally:
        database.close()
    directory = data_root / "overlay2" / layer / "diff"
    directory.mkdir(parents=True)
    (directory / "hello").write_text("hello")
    Path(link).symlink_to(f"../overlay2/{layer}/diff")
    return image_id
