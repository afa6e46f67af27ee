"""Adding images that are made here: of a container's changes, and of a tree in a tar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cgagent.concurrency import in_thread
from cgagent.images import reference as references
from cgagent.images.archives.authoring import (
    CONFIG,
    StoredLayer,
    imported,
    made_for_mounts,
    packed,
)
from cgagent.images.candidate import Candidate
from cgagent.images.image import Image, image_of
from cgagent.images.packing import PackingProcess

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from cgagent.images.archives.authoring import NewLayer
    from cgagent.images.candidate import Progress
    from cgagent.images.content import ContentStore, Lease
    from cgagent.images.drivers import RootFs
    from cgagent.images.install import Installer
    from cgagent.store.images import ImageRecord


class Authors:
    """`stored` gives an image's record by id, `keep` writes the second copy of it."""

    def __init__(
        self,
        content: ContentStore,
        installer: Installer,
        stored: Callable[[str], ImageRecord],
        keep: Callable[[str], ImageRecord],
    ) -> None:
        self._content = content
        self._installer = installer
        self._stored = stored
        self._keep = keep

    async def commit(
        self,
        image_id: str,
        root: RootFs,
        mount_points: Collection[str],
        make: Callable[[bytes, NewLayer], bytes],
        *,
        name: str | None,
        paused: AbstractAsyncContextManager[None],
        progress: Callable[[Progress], None],
    ) -> Image:
        """An image of what a container has changed, on top of the container's own.

        `make` makes the configuration of the old one and the new layer; the container is `paused`
        while that is packed.

        Raises:
            NoSuchImageError, InvalidInputError, UnsupportedError, NoSpaceError.
        """
        names = (str(references.taggable(name)),) if name else ()
        base = self._stored(image_id)
        held = filter(None, (base.id, base.manifest))
        async with self._content.leasing("commit", held) as lease:
            async with paused:
                layer = await in_thread(lambda stop: _packed(root, mount_points, lease, stop))
            config = make(base.config, layer)
            sources = [StoredLayer(layer.diff_id[7:19]) for layer in base.layers]
            if not layer.is_empty:
                sources.append(StoredLayer(layer.digest[7:19], layer.digest, layer.size_bytes))
            return await self._add("commit", config, sources, names, progress)

    async def import_(
        self,
        archive: str,
        make: Callable[[NewLayer], bytes],
        *,
        name: str | None,
        progress: Callable[[Progress], None],
    ) -> Image:
        """An image of one layer, the tree in the tar at `archive`.

        Raises:
            InvalidInputError: a bad tar, name or configuration. NoSpaceError.
        """
        names = (str(references.taggable(name)),) if name else ()
        async with self._content.leasing("import") as lease:
            layer = await in_thread(lambda stop: imported(archive, lease, stop))
            source = StoredLayer(layer.digest[7:19], layer.digest, layer.size_bytes)
            return await self._add("import", make(layer), [source], names, progress)

    async def _add(
        self,
        what: str,
        config: bytes,
        sources: Sequence[StoredLayer],
        names: tuple[str, ...],
        progress: Callable[[Progress], None],
    ) -> Image:
        made = Candidate(what, config, CONFIG, tuple(sources), names)
        (image_id,) = await self._installer.install([made], progress)
        return image_of(await in_thread(lambda _: self._keep(image_id)))


def _packed(
    root: RootFs, mount_points: Collection[str], lease: Lease, stop: threading.Event
) -> NewLayer:
    """Empty `mount_points` are left out."""
    with closing(PackingProcess()) as process:
        return packed(root, made_for_mounts(root, mount_points), lease, process, stop)
