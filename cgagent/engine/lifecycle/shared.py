"""What every change of a container works with: its files, its group, who is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cgagent.engine.containers.bundle import Bundle
from cgagent.engine.options.plan import mount_points
from cgagent.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from cgagent.cgroups import Group
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle.leftovers import Leftovers
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.lifecycle.placement import Placement
    from cgagent.engine.lifecycle.pool import Pool
    from cgagent.engine.networks import Networks
    from cgagent.engine.observe.monitor import Monitor
    from cgagent.engine.observe.watch import GroupWatch
    from cgagent.engine.options.runtimes import Runtimes
    from cgagent.engine.volumes import Volumes
    from cgagent.images.store import Images
    from cgagent.runtime.client import Supervisor
    from cgagent.runtime.seccomp.compiled import Filters
    from cgagent.runtime.spec import MountPoint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Put together by the engine."""

    containers: Containers
    groups: Groups
    images: Images
    volumes: Volumes
    networks: Networks
    supervisor: Supervisor
    placement: Placement
    pool: Pool
    parents: Parents
    jobs: Jobs
    events: Events
    containers_dir: Path
    filters: Filters
    watch: GroupWatch
    runtimes: Runtimes
    leftovers: Leftovers
    userns: str
    """The user namespace of a container for which none was asked: host or auto."""
    monitor: Monitor
    secrets: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Variables of steps' commands, by their containers; see `BuildStep.secrets`."""

    def bundle(self, container_id: str) -> Bundle:
        return Bundle(self.containers_dir, container_id)

    def group(self, container: Container) -> Group:
        return self.placement.group(container.record.cgroup_path)

    def mount_points(self, container: Container) -> tuple[MountPoint, ...]:
        """What is mounted into it, beside the kernel's own file systems."""
        path = self.bundle(container.id).path
        return mount_points(container.record, path, self.volumes.path)

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        self.events.tell(container, action, **attributes)


def require_running(container: Container) -> None:
    """Raises ConflictError: it does not run."""
    if not container.running:
        status = container.record.outcome.status
        raise ConflictError(
            f"container {container.name} is not running ({status}); "
            f"start it first (cgagent start {container.name})"
        )


def require_there(container: Container) -> None:
    """Raises NotFoundError: it has been removed."""
    if container.removed:
        raise NotFoundError(f"container {container.name} has been removed")
