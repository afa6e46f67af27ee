"""Images as jobs: pull, load, remove, with events."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.jobs import Job, Jobs
    from cgagent.images.check import Report
    from cgagent.images.image import Image
    from cgagent.images.install import Progress
    from cgagent.images.store import Images

log = logging.getLogger(__name__)


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
        self._settling: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """At the agent's start: an earlier one may have been killed before this was done."""
        self._settle()

    def all(self) -> list[Image]:
        return self._images.list()

    def resolve(self, name: str) -> Image:
        return self._images.resolve(name)

    async def pull(self, name: str, progress: Callable[[Progress], None]) -> Image:
        """Fetch an image from its registry, or find that it is up to date."""
        async with self._jobs.run("pull", image=name) as job:
            job.step("resolve")
            image = await self._images.pull(name, _told(job, progress))
        self._settle()
        self._events.publish("image", "pull", image.id, {"name": name})
        return image

    async def load(self, archive: str, progress: Callable[[Progress], None]) -> list[Image]:
        """Take the images out of an archive file on the agent's disk."""
        async with self._jobs.run("load", archive=archive) as job:
            job.step("read")
            loaded = await self._images.load(archive, _told(job, progress))
        self._settle()
        for image in loaded:
            self._events.publish("image", "load", image.id)
        return loaded

    async def check(self, progress: Callable[[Progress], None], *, repair: bool) -> Report:
        """Compare all that images consist of with its digests; mend what is wrong if `repair`."""
        async with self._jobs.run("check", repair=str(repair).lower()) as job:
            job.step("blobs")
            report = await self._images.check(_told(job, progress), repair=repair)
        self._settle()
        return report

    async def remove(self, name: str, *, force: bool) -> list[str]:
        """Lines as ``docker rmi`` prints them."""
        async with self._jobs.run("rmi", image=name):
            await self._let_go()
            lines = await asyncio.to_thread(
                self._images.remove, name, in_use=self._containers.using_image, force=force
            )
        self._events.publish("image", "delete", name)
        return lines

    def _settle(self) -> None:
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


def _told(job: Job, progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    def tell(what: Progress) -> None:
        job.progress = f"{what.layer} {what.status}".strip()
        if what.layer and job.steps[-1].name not in ("layers", "blobs"):
            job.step("layers")
        progress(what)

    return tell
