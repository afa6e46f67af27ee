"""Where a step's result is looked up: in this agent's own cache, and in images that are named.

An image's history has the keys of the steps that made it, so that its layers stand for them also
where it was pulled.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.store.builds import StepRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.images.building import Building, Layers
    from cgagent.images.content import Lease
    from cgagent.images.image import Image

MARK: Final = "cgagent.build"
"""The member of an entry of an image's history that has the step's key, and what it has used."""

_APART_NS: Final = 1000


@dataclass(frozen=True, slots=True)
class Result:
    layers: Layers
    history: dict[str, Any]


class StepCache:
    def __init__(self, building: Building, lease: Lease, *, reads: bool, reads_own: bool) -> None:
        self._building = building
        self._lease = lease
        self._reads = reads
        self._reads_own = reads_own
        self._used_ns = time.time_ns()
        self._of_images: dict[str, tuple[dict[str, Any], str | None, int]] = {}
        """By key: the entry, and the diff id and size of its layer."""

    def add_image(self, image: Image, document: Mapping[str, Any]) -> None:
        """Its steps may be taken over."""
        layers = iter(zip(image.diff_ids, image.layer_sizes, strict=True))
        for entry in document.get("history") or ():
            layer = None if entry.get("empty_layer") else next(layers, None)
            mark = entry.get(MARK)
            if isinstance(mark, dict) and isinstance(mark.get("key"), str):
                self._of_images[mark["key"]] = (dict(entry), *(layer or (None, 0)))
        self._lease.hold((image.id, *image.layers, *filter(None, (image.manifest,))))

    def find(self, key: str, below: Layers) -> Result | None:
        """For a thread."""
        if not self._reads:
            return None
        if key in self._of_images:
            entry, diff_id, size_bytes = self._of_images[key]
            made = below if diff_id is None else below.on_top(diff_id, size_bytes)
            if self._building.is_here(made):
                return Result(made, entry)
        if not self._reads_own:
            return None
        found = self._building.cached(key, below, self._lease)
        if found is None:
            return None
        self._building.steps.use(key, self._used())
        return Result(found[1], json.loads(found[0].history))

    def keep(self, key: str, below: Layers, result: Result) -> None:
        """For a thread. What a build without a cache has made is kept for the next one, too."""
        is_new = result.layers != below
        self._building.steps.add(
            StepRecord(
                key=key,
                chain_id=result.layers.chain[-1] if is_new else None,
                diff_id=result.layers.diff_ids[-1] if is_new else None,
                size_bytes=result.layers.sizes[-1] if is_new else 0,
                history=json.dumps(result.history),
                created_ns=time.time_ns(),
                used_ns=self._used(),
                uses=0,
            )
        )

    def _used(self) -> int:
        """When a step counts as used: before those that it stands on, which are then kept longer.

        Its own layer would be of no use without theirs.
        """
        self._used_ns -= _APART_NS
        return self._used_ns
