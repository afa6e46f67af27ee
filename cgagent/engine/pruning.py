"""Pruning and disk usage: what nothing needs any more, and what everything takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cgagent.errors import CgagentError
from cgagent.metrics import disk_usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.engine.build.kept import BuildCache
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.filters import PruneFilters
    from cgagent.engine.images import ImageJobs
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.observe.sizes import ContainerSizes
    from cgagent.engine.volumes import Volumes
    from cgagent.images.image import Image


class Pruning:
    def __init__(
        self,
        *,
        containers: Containers,
        lifecycle: Lifecycle,
        images: ImageJobs,
        volumes: Volumes,
        sizes: ContainerSizes,
        builds: BuildCache,
        jobs: Jobs,
    ) -> None:
        self._containers = containers
        self._lifecycle = lifecycle
        self._images = images
        self._volumes = volumes
        self._sizes = sizes
        self._builds = builds
        self._jobs = jobs

    async def containers(self, filters: PruneFilters) -> tuple[list[str], int]:
        """Remove those that do not run; their ids, and the bytes that they had written."""
        removed, freed = [], 0
        async with self._jobs.run("container prune"):
            chosen = [
                c
                for c in self._containers
                if not c.up
                and not c.record.resolved.is_step
                and filters.hold(c.record.created_ns, c.record.resolved.labels)
            ]
            sizes = await self._sizes.of(chosen)
            for container in chosen:
                with contextlib.suppress(CgagentError):  # it was started or removed meanwhile
                    await self._lifecycle.remove(container)
                    removed.append(container.id)
                    freed += sizes[container.id].written or 0
        return removed, freed

    async def disk_usage(self) -> dict[str, Any]:
        """What images, containers, volumes and builds take, in bytes; see `_images_usage`."""
        containers = list(self._containers)
        sizes = await self._sizes.of(containers)
        return {
            **_images_usage(self._images.all(), [c.record.image_id for c in containers]),
            **await asyncio.to_thread(self._images.blob_usage),
            "containers": [
                {
                    "id": c.id,
                    "name": c.name,
                    "image": c.record.config.image,
                    "command": list(c.record.resolved.args),
                    "status": c.record.outcome.status,
                    "created_ns": c.record.created_ns,
                    "volumes": sum(m.type == "volume" for m in c.record.resolved.mounts),
                    "running": c.up,
                    "size_rw_bytes": sizes[c.id].written,
                }
                for c in containers
            ],
            "volumes": await asyncio.to_thread(self._volumes_usage),
            "builds": [asdict(one) for one in await self._builds.all()],
            "time": time.time(),
        }

    def _volumes_usage(self) -> list[dict[str, Any]]:
        found = []
        for volume in self._volumes.all():
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                size, _ = disk_usage(volume.mountpoint, lambda: False)
                users = len(volume.users)
                found.append({"name": volume.name, "size_bytes": size, "containers": users})
        return found


def _images_usage(images: Sequence[Image], used: Sequence[str]) -> dict[str, Any]:
    """Layers count once in ``layers_bytes``; ``reclaimable_bytes`` of those in no container."""
    sizes: dict[str, int] = {}
    holders: dict[str, set[str]] = {}
    for image in images:
        for chain_id, size in zip(image.layers, image.layer_sizes, strict=True):
            sizes[chain_id] = size
            holders.setdefault(chain_id, set()).add(image.id)
    in_use = set(used)
    held = {layer for layer, who in holders.items() if who & in_use}
    shown = []
    for image in images:
        shared = sum(sizes[layer] for layer in image.layers if len(holders[layer]) > 1)
        item = {
            "id": image.id,
            "names": list(image.names),
            "created": image.created.isoformat() if image.created else None,
            "size_bytes": image.size_bytes,
            "shared_bytes": shared,
            "unique_bytes": image.size_bytes - shared,
            "containers": used.count(image.id),
        }
        shown.append(item)
    return {
        "images": shown,
        "layers_bytes": sum(sizes.values()),
        "reclaimable_bytes": sum(size for layer, size in sizes.items() if layer not in held),
    }
