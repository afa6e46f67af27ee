"""Adding images to the store, whether they come from a registry or from an archive.

All or nothing: layers are unpacked first, pinned against removal, and the records of all images
are written in one transaction at the end. On failure and on cancellation the layers that no other
image has go again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cgagent.errors import InvalidInputError
from cgagent.images.concurrency import KeyedLock, in_thread
from cgagent.images.image import parse_config
from cgagent.images.layers import chain_ids

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from cgagent.images.layers import LayerStore
    from cgagent.store.images import ImageRecords

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
        """Of the bytes, if it is still to be verified."""
        ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def shown(self) -> str:
        """Its name in `Progress`."""
        ...

    async def fetch(self, progress: Callable[[int], None]) -> None:
        """Brings the bytes to this machine; `progress` is told how many are here."""
        ...

    def open(self) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image to be added, its layers bottom first, under canonical names."""

    what: str
    config: bytes
    layers: tuple[LayerSource, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    candidate: Candidate
    image_id: str
    diff_ids: tuple[str, ...]
    chain: tuple[str, ...]


class Installer:
    def __init__(self, layers: LayerStore, records: ImageRecords) -> None:
        self._layers = layers
        self._records = records
        self._unpacking = KeyedLock()

    async def install(
        self, candidates: Sequence[Candidate], progress: Callable[[Progress], None]
    ) -> list[str]:
        """The ids of the images, which are complete in the store."""
        plans = [_plan(candidate) for candidate in candidates]
        pinned = [chain_id for plan in plans for chain_id in plan.chain]
        self._layers.pin(pinned)
        try:
            for plan in plans:
                await self._add_layers(plan, progress)
            with self._records.transaction():
                for plan in plans:
                    self._records.add(plan.image_id, plan.candidate.config, plan.chain)
                    for name in plan.candidate.names:
                        self._records.set_name(name, plan.image_id)
        finally:
            self._layers.unpin(pinned)
            await in_thread(lambda _: self._layers.collect())
        return [plan.image_id for plan in plans]

    async def _add_layers(self, plan: _Plan, progress: Callable[[Progress], None]) -> None:
        slots = asyncio.Semaphore(PARALLEL_DOWNLOADS)
        layers = plan.candidate.layers
        fetches = [
            asyncio.create_task(self._fetch(source, chain_id, slots, progress))
            for source, chain_id in zip(layers, plan.chain, strict=True)
        ]
        try:
            for position, fetch in enumerate(fetches):
                await fetch
                await self._unpack(plan, position, progress)
        finally:
            for fetch in fetches:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)

    async def _fetch(
        self,
        source: LayerSource,
        chain_id: str,
        slots: asyncio.Semaphore,
        progress: Callable[[Progress], None],
    ) -> None:
        if self._layers.has(chain_id):
            return
        async with slots:
            await source.fetch(_Meter(progress, source, "Downloading"))

    async def _unpack(
        self, plan: _Plan, position: int, progress: Callable[[Progress], None]
    ) -> None:
        source, chain = plan.candidate.layers[position], plan.chain[: position + 1]
        async with self._unpacking.hold(chain[-1]):
            if self._layers.has(chain[-1]):
                progress(Progress(source.shown, "Already exists"))
                return
            loop = asyncio.get_running_loop()
            meter = _Meter(progress, source, "Extracting")

            def work(stop: threading.Event) -> None:
                with source.open() as stream:
                    self._layers.add(
                        stream,
                        chain,
                        plan.diff_ids[position],
                        digest=source.digest,
                        stop=stop,
                        progress=lambda count: meter.from_thread(loop, count),
                    )

            await in_thread(work)
            progress(Progress(source.shown, "Pull complete"))


def _plan(candidate: Candidate) -> _Plan:
    diff_ids = parse_config(candidate.config, candidate.what).diff_ids
    if len(diff_ids) != len(candidate.layers):
        raise InvalidInputError(
            f"{candidate.what}: its config names {len(diff_ids)} layers, its manifest "
            f"{len(candidate.layers)}"
        )
    image_id = f"sha256:{hashlib.sha256(candidate.config).hexdigest()}"
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
