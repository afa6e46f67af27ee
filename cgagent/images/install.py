"""Adding images to the store, whether they come from a registry or from an archive.

All or nothing: blobs are fetched and layers unpacked first, under a lease, and the records of all
images are written in one transaction at the end. On failure and on cancellation the blobs and
layers that no other image has go again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cgagent.concurrency import in_thread
from cgagent.errors import InvalidInputError
from cgagent.images.content import digest_of
from cgagent.images.garbage import collect
from cgagent.images.image import parse_config
from cgagent.images.layering import Layering
from cgagent.images.layers import chain_ids
from cgagent.images.recovery import unpack_again

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cgagent.images.candidate import Candidate, Progress
    from cgagent.images.content import ContentStore, Lease
    from cgagent.images.layers import LayerStore
    from cgagent.store.images import ImageRecord, ImageRecords


@dataclass(frozen=True, slots=True)
class _Plan:
    candidate: Candidate
    image_id: str
    diff_ids: tuple[str, ...]
    chain: tuple[str, ...]


class Installer:
    def __init__(self, content: ContentStore, layers: LayerStore, records: ImageRecords) -> None:
        self._content = content
        self._layers = layers
        self._records = records
        self._layering = Layering(content, layers)

    async def install(
        self, candidates: Sequence[Candidate], progress: Callable[[Progress], None]
    ) -> list[str]:
        """The ids of the images, which are complete in the store."""
        plans = [_plan(candidate) for candidate in candidates]
        try:
            chains = {chain_id for plan in plans for chain_id in plan.chain}
            async with self._content.leasing(candidates[0].what, chains) as lease:
                digests = await self._add_layers(plans, lease, progress)
                await in_thread(lambda _: self._record(plans, digests, lease))
        finally:
            await in_thread(lambda _: collect(self._records, self._content, self._layers))
        return [plan.image_id for plan in plans]

    async def _add_layers(
        self, plans: Sequence[_Plan], lease: Lease, progress: Callable[[Progress], None]
    ) -> list[list[str]]:
        """For each image the digests of the blobs that its layers are unpacked from."""
        process = self._layers.unpacking_process()
        try:
            found = []
            for plan in plans:
                sources = list(zip(plan.candidate.layers, plan.diff_ids, strict=True))
                found.append(
                    await self._layering.add(sources, plan.chain, lease, process, progress)
                )
            return found
        finally:
            await in_thread(lambda _: process.close())

    def _record(
        self, plans: Sequence[_Plan], digests: Sequence[Sequence[str]], lease: Lease
    ) -> None:
        """The small blobs, and when all are on disk all rows in one transaction."""
        small = [
            lease.put(raw, media_type)
            for plan in plans
            for raw, media_type in (
                (plan.candidate.config, plan.candidate.config_type),
                *((found.raw, found.media_type) for found in plan.candidate.documents),
            )
        ]
        self._content.sync(small)
        with self._records.transaction():
            for plan, layers in zip(plans, digests, strict=True):
                self._record_image(plan, layers)

    def _record_image(self, plan: _Plan, layers: Sequence[str]) -> None:
        documents = plan.candidate.documents
        blobs = self._content.records
        blobs.set_links(plan.image_id, () if documents else layers)
        for document in documents:
            blobs.set_links(document.digest, document.found.links)
        manifest = documents[-1].digest if documents else None
        self._records.add(plan.image_id, plan.candidate.config, manifest, plan.chain)
        for name in plan.candidate.names:
            target = documents[0].digest if documents else plan.image_id
            self._records.set_name(name, plan.image_id, target)

    async def complete(self, record: ImageRecord) -> None:
        """Unpacks again the layers of an image that are lost.

        Raises:
            InternalError: there is no blob to do it from.
        """
        chain = [layer.chain_id for layer in record.layers]
        for n, layer in enumerate(record.layers, 1):
            if not self._layers.is_whole(layer):
                async with self._layering.unpacking.hold(layer.chain_id):
                    again = partial(unpack_again, self._content, self._layers, chain[:n])
                    await in_thread(partial(again, layer.diff_id))


def _plan(candidate: Candidate) -> _Plan:
    diff_ids = parse_config(candidate.config, candidate.what).diff_ids
    if len(diff_ids) != len(candidate.layers):
        raise InvalidInputError(
            f"{candidate.what}: its config names {len(diff_ids)} layers, its manifest "
            f"{len(candidate.layers)}"
        )
    image_id = digest_of(candidate.config)
    return _Plan(candidate, image_id, diff_ids, chain_ids(diff_ids))
