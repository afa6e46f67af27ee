"""Adding images to the store, whether they come from a registry or from an archive.

All or nothing: blobs are fetched and layers unpacked first, under a lease, and the records of all
images are written in one transaction at the end. On failure and on cancellation the blobs and
layers that no other image has go again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from cgagent.concurrency import KeyedLock, in_thread
from cgagent.errors import InvalidInputError
from cgagent.images.content import digest_of
from cgagent.images.garbage import collect
from cgagent.images.image import parse_config
from cgagent.images.layers import chain_ids, verify
from cgagent.images.recovery import unpack_again

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from cgagent.images.content import ContentStore, Lease
    from cgagent.images.layers import LayerStore
    from cgagent.images.manifest import Document
    from cgagent.store.images import ImageRecord, ImageRecords

PARALLEL_DOWNLOADS: Final = 3
_PROGRESS_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a pull or a load. `status` is spelled as Docker spells it."""

    layer: str
    """Twelve hexadecimal digits of the layer, or empty for the image as a whole."""
    status: str
    current_bytes: int | None = None
    total_bytes: int | None = None


class LayerSource(Protocol):
    """Where the bytes of one layer come from."""

    @property
    def digest(self) -> str | None:
        """Of the bytes; None: not known before they are fetched."""
        ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def shown(self) -> str:
        """Its name in `Progress`."""
        ...

    async def fetch(self, lease: Lease, progress: Callable[[int], None]) -> str:
        """Puts the bytes into the store, their digest; `progress` is told how many are here."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image to be added, its layers bottom first, under canonical names."""

    what: str
    config: bytes
    config_type: str
    layers: tuple[LayerSource, ...]
    names: tuple[str, ...]
    documents: tuple[Document, ...] = ()
    """From what the names stand for down to the manifest; an archive of docker save has none."""


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
        self._fetching = KeyedLock()
        self._unpacking = KeyedLock()

    async def install(
        self, candidates: Sequence[Candidate], progress: Callable[[Progress], None]
    ) -> list[str]:
        """The ids of the images, which are complete in the store."""
        plans = [_plan(candidate) for candidate in candidates]
        try:
            with self._content.leased(candidates[0].what) as lease:
                for plan in plans:
                    lease.hold(plan.chain)
                digests = [await self._add_layers(plan, lease, progress) for plan in plans]
                await in_thread(lambda _: self._record(plans, digests, lease))
        finally:
            await in_thread(lambda _: collect(self._records, self._content, self._layers))
        return [plan.image_id for plan in plans]

    async def _add_layers(
        self, plan: _Plan, lease: Lease, progress: Callable[[Progress], None]
    ) -> list[str]:
        """The digests of the blobs that they are unpacked from."""
        slots = asyncio.Semaphore(PARALLEL_DOWNLOADS)
        fetches = [
            asyncio.create_task(self._fetch(source, diff_id, lease, slots, progress))
            for source, diff_id in zip(plan.candidate.layers, plan.diff_ids, strict=True)
        ]
        try:
            for position, fetch in enumerate(fetches):
                await self._unpack(plan, position, await fetch, progress)
        finally:
            for fetch in fetches:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)
        return [fetch.result() for fetch in fetches]

    async def _fetch(
        self,
        source: LayerSource,
        diff_id: str,
        lease: Lease,
        slots: asyncio.Semaphore,
        progress: Callable[[Progress], None],
    ) -> str:
        async with slots, self._fetching.hold(source.digest or diff_id):
            if source.digest is not None:
                fitting = [source.digest]
            else:  # in whatever form it is here
                fitting = [blob.digest for blob in self._content.records.of_diff(diff_id)]
            lease.hold(fitting)
            for digest in fitting:
                if self._content.has(digest):
                    return digest
            return await source.fetch(lease, _Meter(progress, source, "Downloading"))

    async def _unpack(
        self, plan: _Plan, position: int, digest: str, progress: Callable[[Progress], None]
    ) -> None:
        source, chain = plan.candidate.layers[position], plan.chain[: position + 1]
        diff_id = plan.diff_ids[position]
        async with self._unpacking.hold(chain[-1]):
            blob = self._content.records.get(digest)
            if self._layers.has(chain[-1]) and blob is not None and blob.diff_id == diff_id:
                progress(Progress(source.shown, "Already exists"))
                return
            loop = asyncio.get_running_loop()
            meter = _Meter(progress, source, "Extracting")

            def work(stop: threading.Event) -> None:
                def tell(count: int) -> None:
                    meter.from_thread(loop, count)

                with self._content.open(digest) as stream:
                    if self._layers.has(chain[-1]):
                        verify(stream, diff_id, stop=stop, progress=tell)
                    else:
                        self._layers.add(stream, chain, diff_id, stop=stop, progress=tell)
                self._content.records.set_diff_id(digest, diff_id)

            await in_thread(work)
            progress(Progress(source.shown, "Pull complete"))

    def _record(
        self, plans: Sequence[_Plan], digests: Sequence[Sequence[str]], lease: Lease
    ) -> None:
        """The small blobs, and then all rows in one transaction."""
        for plan in plans:
            lease.put(plan.candidate.config, plan.candidate.config_type)
            for document in plan.candidate.documents:
                lease.put(document.raw, document.media_type)
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
                async with self._unpacking.hold(layer.chain_id):
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


class _Meter:
    """Turns byte counts into `Progress`, not more often than anyone can read."""

    def __init__(
        self, progress: Callable[[Progress], None], source: LayerSource, status: str
    ) -> None:
        self._progress = progress
        self._source = source
        self._status = status
        self._next_s = 0.0

    def __call__(self, count: int) -> None:
        if self._due(count):
            self._tell(count)

    def from_thread(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        if self._due(count):
            loop.call_soon_threadsafe(self._tell, count)

    def _due(self, count: int) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s and count < self._source.size_bytes:
            return False
        self._next_s = now_s + _PROGRESS_INTERVAL_S
        return True

    def _tell(self, count: int) -> None:
        self._progress(Progress(self._source.shown, self._status, count, self._source.size_bytes))
