"""Images as jobs: pull, load, save, import, tag, remove, prune, with events."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.errors import CgagentError
from cgagent.images.archives.authoring import imported_config
from cgagent.images.distribution.credentials import from_header
from cgagent.images.image import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.filters import PruneFilters
    from cgagent.engine.jobs import Job, Jobs
    from cgagent.images.archives.authoring import Authorship
    from cgagent.images.archives.writing import Form
    from cgagent.images.candidate import Progress
    from cgagent.images.check import Report
    from cgagent.images.image import Image, ImageConfig
    from cgagent.images.removal import Removed
    from cgagent.images.store import Images

log = logging.getLogger(__name__)

_PIECE_BYTES: Final = 1 << 20
_KEPT_CONFIGS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A step of an image's making, in its author's words."""

    created: str
    created_by: str
    comment: str
    size_bytes: int


class ImageJobs:
    def __init__(
        self,
        images: Images,
        containers: Containers,
        jobs: Jobs,
        events: Events,
        let_go: Callable[[], Awaitable[None]],
    ) -> None:
        """`let_go` ends what has an image's layers and is no container."""
        self._images = images
        self._let_go = let_go
        self._containers = containers
        self._jobs = jobs
        self._events = events
        self._configs: dict[str, ImageConfig] = {}
        self._settling: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """At the agent's start: an earlier one may have been killed before this was done."""
        self.settle()

    def all(self) -> list[Image]:
        return self._images.list()

    def resolve(self, name: str) -> Image:
        return self._images.resolve(name)

    @property
    def storage_driver(self) -> str:
        return self._images.storage.driver.name

    def config_or_none(self, image_id: str) -> ImageConfig | None:
        """How an image is meant to be run, by its whole id; None: it is not here any more.

        The last few are kept, as an id never comes to mean another image.
        """
        known = self._configs.get(image_id)
        if known is not None:
            return known
        try:
            found = self._images.resolve(image_id).config
        except CgagentError:
            return None
        if len(self._configs) >= _KEPT_CONFIGS:
            self._configs.pop(next(iter(self._configs)), None)
        self._configs[image_id] = found
        return found

    def history(self, image: Image) -> list[HistoryEntry]:
        """How it was made, the newest step first; what its own history leaves out is made up."""
        sizes = list(image.layer_sizes)
        listed = json.loads(self.config_of(image)).get("history")
        found = []
        for entry in listed if isinstance(listed, list) and listed else [{} for _ in sizes]:
            text = {k: v for k, v in entry.items() if isinstance(v, str)}
            is_empty = entry.get("empty_layer") or not sizes
            found.append(
                HistoryEntry(
                    created=text.get("created", ""),
                    created_by=text.get("created_by", ""),
                    comment=text.get("comment", ""),
                    size_bytes=0 if is_empty else sizes.pop(0),
                )
            )
        return found[::-1]

    def written_bytes(self, container_id: str) -> int | None:
        """As the storage driver knows it without a walk of the container's files."""
        return self._images.written_bytes(container_id)

    async def pull(
        self,
        name: str,
        progress: Callable[[Progress], None],
        *,
        login: str | None = None,
        platform: str = "",
    ) -> Image:
        """Fetch an image from its registry, or find that it is up to date.

        `login` is a header X-Registry-Auth, `platform` is ``OS/ARCH[/VARIANT]``.
        """
        credentials = from_header(login)
        async with self._jobs.run("pull", image=name) as job:
            job.step("resolve")
            image = await self._images.pull(
                name, told(job, progress), credentials=credentials, platform=platform
            )
        self.settle()
        self._events.publish("image", "pull", image.id, {"name": name})
        return image

    async def load(
        self, archive: str, progress: Callable[[Progress], None], *, shown: str | None = None
    ) -> list[Image]:
        """Take the images out of an archive on the agent's disk, called `shown` in messages.

        Without `shown` it is a file of the host that the caller has named.
        """
        if shown is None:
            self._jobs.require_permitted("load a file of the host", archive=archive)
        async with self._jobs.run("load", archive=shown or archive) as job:
            job.step("read")
            loaded = await self._images.load(archive, told(job, progress), shown=shown)
        self.settle()
        for image in loaded:
            self._events.publish("image", "load", image.id)
        return loaded

    async def import_(
        self,
        archive: str,
        about: Authorship,
        progress: Callable[[Progress], None],
        *,
        platform: str | None = None,
    ) -> Image:
        """Make an image of a tree in a tar on the agent's disk."""
        async with self._jobs.run("import", image=about.name or "") as job:
            job.step("read")
            image = await self._images.authors.import_(
                archive,
                lambda layer: imported_config(platform, layer, about),
                name=about.name,
                progress=told(job, progress),
            )
        self.settle()
        self._events.publish("image", "import", image.id, {"name": about.name or ""})
        return image

    async def save(
        self, names: Sequence[str], form: Form, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Send an archive of the images, piece by piece.

        Raises:
            NoSuchImageError, NotFoundError: before the first piece.
        """
        async with self._jobs.run("save", images=" ".join(names)):
            saving = ExitStack()
            try:
                chunks = await in_thread(
                    lambda _: saving.enter_context(self._images.saving(names, form))
                )
                while piece := await in_thread(lambda _: _piece(chunks)):
                    await send(piece)
            finally:
                await in_thread(lambda _: saving.close())
        for name in names:
            self._events.publish("image", "save", name)

    def blob_usage(self) -> dict[str, int]:
        """Bytes of the blobs that images came in, beside what they are unpacked to."""
        return {"blobs_bytes": self._images.blobs_bytes()}

    def scratch(self) -> AbstractContextManager[Path]:
        """A temporary file for what comes over a connection."""
        return self._images.scratch()

    def config_of(self, image: Image) -> bytes:
        """Its configuration, byte for byte; the machine's own root has an empty one."""
        return b"{}" if image is HOST else self._images.config_of(image)

    async def tag(self, source: str, name: str) -> Image:
        """Give an image one more name."""
        async with self._jobs.run("tag", image=source, to=name):
            image = await asyncio.to_thread(self._images.tag, source, name)
        self._events.publish("image", "tag", image.id, {"name": name})
        return image

    async def check(self, progress: Callable[[Progress], None], *, repair: bool) -> Report:
        """Compare all that images consist of with its digests; mend what is wrong if `repair`."""
        async with self._jobs.run("check", repair=str(repair).lower()) as job:
            job.step("blobs")
            report = await self._images.check(told(job, progress), repair=repair)
        self.settle()
        return report

    async def remove(self, name: str, *, force: bool) -> Removed:
        """By docker's rules; see `Images.remove`."""
        async with self._jobs.run("rmi", image=name):
            await self._let_go()
            removed = await asyncio.to_thread(
                self._images.remove, name, in_use=self._containers.using_image, force=force
            )
        self._tell(removed)
        return removed

    async def prune(self, *, every: bool, filters: PruneFilters) -> Removed:
        """Delete images that no container uses: those without a tag, or `every` one."""

        def is_wanted(image: Image) -> bool:
            made_s = image.created.timestamp() if image.created else 0.0
            return not (
                (every or not image.tags) and filters.hold(made_s * 1e9, image.config.labels)
            )

        async with self._jobs.run("image prune"):
            await self._let_go()
            removed = await in_thread(
                lambda _: self._images.prune(is_wanted, self._containers.using_image)
            )
        self._tell(removed)
        return removed

    def _tell(self, removed: Removed) -> None:
        for line in removed.lines:
            if line.startswith("Untagged: "):
                self._events.publish("image", "untag", line.removeprefix("Untagged: "))
        for image_id in removed.images:
            self._events.publish("image", "delete", image_id)

    def settle(self) -> None:
        """Nobody waits until unpacked layers are on disk; they can be unpacked again."""
        task = asyncio.create_task(asyncio.to_thread(self._images.settle))
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("unpacked layers are not known to be on disk: %s", error)

    async def close(self) -> None:
        """Wait for what goes on beside the jobs; the database may be closed then."""
        await asyncio.gather(*self._settling, return_exceptions=True)


def told(job: Job, progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """`progress` that the job shows as well."""

    def tell(what: Progress) -> None:
        job.tell(f"{what.layer} {what.status}".strip())
        if what.layer and job.steps[-1].name not in ("layers", "blobs"):
            job.step("layers")
        progress(what)

    return tell


def _piece(chunks: Iterator[bytes]) -> bytes:
    """About a mebibyte of a stream; empty at its end."""
    found: list[bytes] = []
    size = 0
    for chunk in chunks:
        found.append(chunk)
        size += len(chunk)
        if size >= _PIECE_BYTES:
            break
    return b"".join(found)
