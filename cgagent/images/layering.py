"""Bringing the layers of one image here: several are fetched and unpacked at the same time.

A layer is unpacked while it still comes. A layer gets its name after those below it, and may wait
for them in its thread; as the threads of an image are handed out from the bottom up, the lowest one
that is not done always has what it needs.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import KeyedLock, StoppedError, in_thread
from cgagent.errors import InvalidInputError
from cgagent.images.candidate import LayerSource, Progress
from cgagent.images.content import BlobWriter, ContentStore, Lease, RestartedError
from cgagent.images.unpacking import Reader, UnpackingProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cgagent.images.compression import Source
    from cgagent.images.layers import LayerStore

PARALLEL_DOWNLOADS: Final = 3
_PARALLEL_UNPACKS: Final = 3
_THREADS: Final = 64
_PROGRESS_INTERVAL_S: Final = 0.1
_STOP_S: Final = 0.2


@dataclass(slots=True)
class _Layer:
    """One of the image's, on its way."""

    source: LayerSource
    diff_id: str
    chain: tuple[str, ...]
    below: _Layer | None
    writer: BlobWriter | None = None
    """While its bytes come; None: the blob is here."""
    is_verified: bool = False
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    """To come, or not to come at all."""
    has_thread: asyncio.Event = field(default_factory=asyncio.Event)
    is_there: Event = field(default_factory=Event)

    @property
    def chain_id(self) -> str:
        return self.chain[-1]

    @property
    def still_comes(self) -> bool:
        """A layer of an archive does not come: it is here."""
        writer = self.writer
        return writer is not None and (
            writer.written < writer.size or (bool(self.source.origin) and not self.is_verified)
        )

    def wait_for_below(self, stop: Event) -> None:
        while self.below is not None and not self.below.is_there.wait(_STOP_S):
            if stop.is_set():
                raise StoppedError


class Layering:
    """What all pulls and loads share; the threads are its own, so that no other work waits."""

    def __init__(self, content: ContentStore, layers: LayerStore) -> None:
        self.content = content
        self.layers = layers
        self.fetching = KeyedLock()
        self.unpacking = KeyedLock()
        self.threads = ThreadPoolExecutor(_THREADS, "layers")

    async def add(
        self,
        sources: Sequence[tuple[LayerSource, str]],
        chain: tuple[str, ...],
        lease: Lease,
        process: UnpackingProcess,
        progress: Callable[[Progress], None],
    ) -> list[str]:
        """The digests of the blobs of `sources`, each with its diff id, bottom first."""
        return await _Run(self, lease, process, progress).run(sources, chain)


class _Run:
    """Of one image."""

    def __init__(
        self,
        shared: Layering,
        lease: Lease,
        process: UnpackingProcess,
        progress: Callable[[Progress], None],
    ) -> None:
        self._shared = shared
        self._content = shared.content
        self._layers = shared.layers
        self._lease = lease
        self._process = process
        self._progress = progress
        self._downloads = asyncio.Semaphore(PARALLEL_DOWNLOADS)
        self._unpacks = asyncio.Semaphore(_PARALLEL_UNPACKS)

    async def run(
        self, sources: Sequence[tuple[LayerSource, str]], chain: tuple[str, ...]
    ) -> list[str]:
        below = None
        tasks: list[asyncio.Task[str]] = []
        for n, (source, diff_id) in enumerate(sources, 1):
            below = layer = _Layer(source, diff_id, chain[:n], below)
            fetched = asyncio.create_task(self._fetch(layer))
            tasks += [fetched, asyncio.create_task(self._unpack(layer, fetched))]
        try:
            digests = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return digests[::2]

    async def _fetch(self, layer: _Layer) -> str:
        """The next one comes while this one is written to disk."""
        source = layer.source
        try:
            async with (
                self._downloads,
                self._shared.fetching.hold(f"{source.digest or layer.diff_id} {source.origin}"),
            ):
                found = await in_thread(lambda _: self._held(source.digest, layer.diff_id))
                digest = found or await self._write(layer)
        finally:
            layer.has_begun.set()
        await in_thread(lambda _: self._content.sync((digest,)), self._shared.threads)
        return digest

    def _held(self, digest: str | None, diff_id: str) -> str | None:
        """The blob of a layer that is here, and is held from now on; None: there is none."""
        if digest is not None:
            fitting = [digest]
        else:  # in whatever form it is here
            fitting = [blob.digest for blob in self._content.records.of_diff(diff_id)]
        self._lease.hold(fitting)
        return next(filter(self._content.has, fitting), None)

    def _is_unpacked(self, layer: _Layer, digest: str, _stop: Event) -> bool:
        blob = self._content.records.get(digest)
        if blob is None or blob.diff_id != layer.diff_id:
            return False
        return self._layers.has(layer.chain_id)

    async def _write(self, layer: _Layer) -> str:
        source = layer.source
        loop = asyncio.get_running_loop()
        meter = _Meter(self._progress, source, "Downloading", loop)

        def work(stop: Event) -> str:
            with self._lease.writer(source.size_bytes, source.digest) as writer:
                layer.writer = writer
                loop.call_soon_threadsafe(layer.has_begun.set)
                source.fetch(writer, stop, meter)
                if source.origin:
                    meter.then("Verifying Checksum")
                digest = writer.commit(source.media_type)
                if source.origin:
                    meter.then("Download complete")
                layer.is_verified = True
                return digest

        return await in_thread(work, self._shared.threads)

    async def _unpack(self, layer: _Layer, fetched: asyncio.Task[str]) -> str:
        await layer.has_begun.wait()
        if layer.below is not None:
            await layer.below.has_thread.wait()
        here = None if layer.writer else await fetched
        async with (
            self._unpacks,
            self._shared.unpacking.hold(f"{layer.chain_id} {layer.source.origin}"),
        ):
            layer.has_thread.set()  # not before: those above would take the threads from this one
            if here is not None and await in_thread(partial(self._is_unpacked, layer, here)):
                self._progress(Progress(layer.source.shown, "Already exists"))
                layer.is_there.set()
                return here
            await self._place(layer, fetched)
        digest = await fetched
        await in_thread(lambda _: self._content.records.set_diff_id(digest, layer.diff_id))
        self._progress(Progress(layer.source.shown, "Pull complete"))
        return digest

    async def _place(self, layer: _Layer, fetched: asyncio.Task[str]) -> None:
        loop = asyncio.get_running_loop()
        meter = _Meter(self._progress, layer.source, "Extracting", loop)

        def tell(count: int) -> None:
            if not layer.still_comes:  # which is what is told till then
                meter(count)

        digest = None if layer.writer else await fetched

        def work(stop: Event) -> None:
            while True:
                try:
                    self._read(layer, digest, stop, tell)
                except RestartedError:
                    continue
                layer.is_there.set()
                return

        try:
            await in_thread(work, self._shared.threads)
        except (InvalidInputError, StoppedError):
            await fetched  # what came is at fault, perhaps, and its error says more
            raise

    def _read(
        self, layer: _Layer, digest: str | None, stop: Event, tell: Callable[[int], None]
    ) -> None:
        opened: AbstractContextManager[Source]
        if digest is not None:
            opened = self._content.open(digest)
        else:
            assert layer.writer is not None  # noqa: S101 -- has begun
            opened = layer.writer.follow(stop)
        with opened as stream:
            reader = Reader(stream, stop, tell)
            if self._layers.has(layer.chain_id):
                self._layers.verify(reader, layer.diff_id)
            else:
                below = partial(layer.wait_for_below, stop)
                self._layers.add(reader, layer.chain, layer.diff_id, self._process, below)


class _Meter:
    """Turns byte counts told in a thread into `Progress`, not oftener than anyone can read."""

    def __init__(
        self,
        progress: Callable[[Progress], None],
        source: LayerSource,
        status: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._progress = progress
        self._source = source
        self._status = status
        self._loop = loop
        self._next_s = 0.0

    def __call__(self, count: int) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s and count < self._source.size_bytes:
            return
        self._next_s = now_s + _PROGRESS_INTERVAL_S
        found = Progress(self._source.shown, self._status, count, self._source.size_bytes)
        self._loop.call_soon_threadsafe(self._progress, found)

    def then(self, status: str) -> None:
        """Tells what follows the bytes."""
        self._loop.call_soon_threadsafe(self._progress, Progress(self._source.shown, status))
