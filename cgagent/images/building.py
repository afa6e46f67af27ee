"""What a build makes in the store: a layer of each step, the cache of steps, and the image.

A step's layer is its overlay's upper directory, renamed. It is read once, for the blob that a push
or an archive needs; nothing is unpacked. What a build has made is held by its lease, and after
that by the rows of cached steps and of the image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.images.archives.authoring import (
    CONFIG,
    StoredLayer,
    has_other_root,
    made_for_mounts,
    packed,
)
from cgagent.images.candidate import Candidate
from cgagent.images.garbage import collect
from cgagent.images.image import Image, ImageConfig
from cgagent.images.layers import chain_ids
from cgagent.images.packing import PackingProcess
from cgagent.images.unpacking import Reader

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

    from cgagent.images.candidate import Progress
    from cgagent.images.content import ContentStore, Lease
    from cgagent.images.drivers import RootFs
    from cgagent.images.install import Installer
    from cgagent.images.layers import LayerStore
    from cgagent.store.builds import StepRecord, StepRecords
    from cgagent.store.images import ImageRecords

_NOTHING: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of an image or of a step, bottom first."""

    diff_ids: tuple[str, ...] = _NOTHING
    sizes: tuple[int, ...] = ()
    """In bytes, of the files in each."""

    @property
    def chain(self) -> tuple[str, ...]:
        return chain_ids(self.diff_ids)

    def on_top(self, diff_id: str, size_bytes: int) -> Layers:
        return Layers((*self.diff_ids, diff_id), (*self.sizes, size_bytes))


@dataclass(frozen=True, slots=True)
class Hold:
    """What a build has of the store as long as it goes on."""

    lease: Lease
    packing: PackingProcess


class Building:
    def __init__(
        self,
        content: ContentStore,
        layers: LayerStore,
        installer: Installer,
        records: ImageRecords,
        steps: StepRecords,
    ) -> None:
        self._content = content
        self._layers = layers
        self._installer = installer
        self._records = records
        self.steps = steps

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[Hold]:
        """What a build has made, and stands on, stays until the block's end; see `collect`."""
        packing = PackingProcess()
        try:
            async with self._content.leasing("build") as lease:
                yield Hold(lease, packing)
        finally:
            await in_thread(lambda _: packing.close())

    def collect(self) -> None:
        """After the lease: remove what nobody has. For a thread."""
        collect(self._records, self._content, self._layers)

    @staticmethod
    def image(layers: Layers, config: ImageConfig, architecture: str = "") -> Image:
        """For the root of a step on these layers."""
        what = "\n".join(("build step", *layers.chain))
        return Image(
            id=f"sha256:{hashlib.sha256(what.encode()).hexdigest()}",
            names=(),
            config=config,
            layers=layers.chain,
            size_bytes=sum(layers.sizes),
            created=None,
            architecture=architecture,
            diff_ids=layers.diff_ids,
            layer_sizes=layers.sizes,
            is_step=True,
        )

    async def take(
        self,
        root: RootFs,
        mount_points: Collection[str],
        below: Layers,
        hold: Hold,
    ) -> Layers:
        """What was written in a step's root becomes a layer; the same ones if it is nothing.

        Nobody writes to the root any more, and it is mounted nowhere.

        Raises:
            UnsupportedError: a change that no layer can express.
            NoSpaceError, InternalError.
        """
        return await in_thread(lambda stop: self._take(root, mount_points, below, hold, stop))

    def _take(
        self,
        root: RootFs,
        mount_points: Collection[str],
        below: Layers,
        hold: Hold,
        stop: threading.Event,
    ) -> Layers:
        lease, process = hold.lease, hold.packing
        is_overlay = root.work is not None
        if is_overlay and not os.listdir(root.upper) and not has_other_root(root):
            return below
        left_out = made_for_mounts(root, mount_points)
        new = packed(root, left_out, lease, process, stop)
        if new.is_empty:
            return below
        made = below.on_top(new.digest, new.files_bytes)
        lease.hold(made.chain[-1:])
        self._content.records.set_diff_id(new.digest, new.digest)
        if self._layers.has(made.chain[-1]):
            return made
        if not is_overlay or not self._layers.adopt(
            root.upper, made.chain, new.digest, new.files_bytes, left_out
        ):
            self._unpack(made, stop)
        return made

    def _unpack(self, made: Layers, stop: threading.Event) -> None:
        diff_id = made.diff_ids[-1]
        with (
            self._content.open(diff_id) as stream,
            contextlib.closing(self._layers.unpacking_process()) as process,
        ):
            reader = Reader(stream, stop, lambda _: None)
            self._layers.add(reader, made.chain, diff_id, process)

    def cached(self, key: str, below: Layers, lease: Lease) -> tuple[StepRecord, Layers] | None:
        """What a step has come to before, on the same layers, if all of that is here."""
        found = self.steps.get(key)
        if found is None or found.diff_id is None:
            return None if found is None else (found, below)
        made = below.on_top(found.diff_id, found.size_bytes)
        lease.hold((made.chain[-1], found.diff_id))
        is_here = found.chain_id == made.chain[-1] and self._layers.has(found.chain_id)
        return (found, made) if is_here and self._content.has(found.diff_id) else None

    def is_here(self, layers: Layers) -> bool:
        return not layers.chain or self._layers.has(layers.chain[-1])

    async def install(
        self,
        config: bytes,
        layers: Layers,
        names: Sequence[str],
        progress: Callable[[Progress], None],
    ) -> str:
        """The image, whose layers are here; its id. Raises NoSpaceError."""
        sources = tuple(StoredLayer(diff_id[7:19]) for diff_id in layers.diff_ids)
        made = Candidate("build", config, CONFIG, sources, tuple(names))
        (image_id,) = await self._installer.install([made], progress)
        return image_id

    def forget(self, keys: Iterable[str]) -> int:
        """Drop cached steps; the bytes of the layers that went with them. For a thread."""
        self.steps.delete(keys)
        sizes = {layer.chain_id: layer.size_bytes for layer in self._records.layers()}
        gone = collect(self._records, self._content, self._layers)
        return sum(sizes.get(chain_id, 0) for chain_id in gone)
