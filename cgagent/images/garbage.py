"""Removing what nothing refers to any more: the rows in one transaction, then the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgagent.images.content import ContentStore
    from cgagent.images.layers import LayerStore
    from cgagent.store.images import ImageRecords


def collect(records: ImageRecords, content: ContentStore, layers: LayerStore) -> list[str]:
    """Removes blobs and layers that no image, name or lease has; the layers' chain ids.

    A file whose row is gone is left over and goes at the agent's next start if this one dies here.
    """
    with records.transaction(essential=True):
        unused_layers = records.delete_unused_layers()
        unused_blobs = content.records.delete_unused()
    layers.discard(unused_layers)
    content.discard(unused_blobs)
    return [layer.chain_id for layer in unused_layers]
