"""Where containers' cgroups are: the path of each, and what a container sees of the hierarchies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cgagent.runtime.spec import CgroupMount
from cgagent.runtime.spec.resources import device_rules

if TYPE_CHECKING:
    from cgagent.cgroups import Group, Host
    from cgagent.engine.lifecycle.parents import Parents


class Placement:
    """The host's hierarchies and the groups above containers; made by the engine."""

    def __init__(self, host: Host, parents: Parents) -> None:
        self._host = host
        self._parents = parents
        self._mounts: tuple[CgroupMount, ...] | None = None

    @property
    def has_v1(self) -> bool:
        """Whether the host mounts a hierarchy of cgroup v1."""
        return bool(self._host.v1_mounts)

    def group(self, path: str) -> Group:
        return self._host.group(path)

    def of(self, container_id: str) -> Group:
        """The group of a container, or of one to come."""
        return self._host.group(self._parents.path(container_id))

    def make(self, group: Group) -> None:
        """Make a container's group, and note which groups above it were made for that."""
        self._parents.make(group)

    def prune(self) -> None:
        """Remove the groups above that were made for containers and have none any more."""
        self._parents.prune()

    def restrict_devices(self, container_id: str, resources: dict[str, Any]) -> None:
        """To what ``linux.resources`` says, where that is not what every container has."""
        if resources.get("devices"):
            self.of(container_id).restrict_devices(device_rules(resources))

    def mounts(self, path: str) -> tuple[CgroupMount, ...]:
        """The hierarchies a container sees: those its group is in, with it as the root of each.

        One it is not in would show it the host's groups. All groups made here are alike.
        """
        if self._mounts is None:
            self._mounts = self._mounts_of(path)
        return self._mounts

    def _mounts_of(self, path: str) -> tuple[CgroupMount, ...]:
        by_mount: dict[str, list[str]] = {}
        for controller, place in self._host.placements.items():
            if place.version == 1 and os.path.isdir(place.mount + path):
                name = "blkio" if controller == "io" else controller
                by_mount.setdefault(place.mount, []).append(name)
        if not by_mount:
            return (CgroupMount(name="", version=2),)
        mounts = [
            CgroupMount(name=os.path.basename(mount), version=1, controllers=",".join(names))
            for mount, names in by_mount.items()
        ]
        if self._host.unified:
            mounts.append(CgroupMount(name="unified", version=2))
        return tuple(mounts)
