"""How much disk containers take: what they have written, and their images below that.

Where no quota tells it, it takes a walk through all files of a container, so it is done only for
who asks for it, in a thread, one request after another, and in bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.errors import CgagentError
from cgagent.images.changes import changed_bytes
from cgagent.metrics import disk_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cgagent.engine.containers.container import Container
    from cgagent.engine.images import ImageJobs
    from cgagent.images.drivers import RootFs

_TIME_S: Final = 10.0
"""For all containers of a request; of those that are left then the sizes are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """In bytes on disk; None: not known, or there are no files."""

    written: int | None = None
    whole: int | None = None
    """With the image, which others may have as well."""


class ContainerSizes:
    def __init__(self, images: ImageJobs, time_s: float = _TIME_S) -> None:
        self._images = images
        self._time_s = time_s
        self._turn = asyncio.Lock()

    async def of(self, containers: Collection[Container]) -> dict[str, Size]:
        """By id."""
        roots = {c.id: c.record.rootfs for c in containers if c.record.rootfs}
        async with self._turn:
            deadline = time.monotonic() + self._time_s
            written = await in_thread(
                lambda stop: self._walk(roots, lambda: stop.is_set() or time.monotonic() > deadline)
            )
        return {c.id: self._size(c, written.get(c.id)) for c in containers}

    def _size(self, container: Container, written: int | None) -> Size:
        if written is None:
            return Size()
        image_bytes = 0
        with contextlib.suppress(CgagentError):  # it has been removed by force
            image_bytes = self._images.resolve(container.record.image_id).size_bytes
        return Size(written=written, whole=image_bytes + written)

    def _walk(self, roots: dict[str, RootFs], is_over: Callable[[], bool]) -> dict[str, int]:
        found: dict[str, int] = {}
        for container_id, root in roots.items():
            with contextlib.suppress(FileNotFoundError):  # it has been removed
                known = self._images.written_bytes(container_id)
                size = _written(root, is_over) if known is None else known
                if is_over():
                    break
                found[container_id] = size
        return found


def _written(root: RootFs, is_over: Callable[[], bool]) -> int:
    if not os.path.isdir(root.upper):
        return 0
    if root.work is None:
        return changed_bytes(root)
    return disk_usage(root.upper, is_over)[0]
