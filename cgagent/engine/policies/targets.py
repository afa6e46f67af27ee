"""Containers and groups of the host as rulesets see them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from cgagent.policy.rulesets.model import Target

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.cgroups import Host
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.registry import Groups

MARK_LABEL: Final = "cgagent.policy"
"""Of a container: ``prefer``, ``avoid`` or ``omit``."""
MARKS: Final = frozenset({"prefer", "avoid", "omit"})
_GROUP: Final = "cgroup:"
_XATTRS: Final = {
    "omit": ("user.oomd_omit", "trusted.oomd_omit"),
    "avoid": ("user.oomd_avoid", "trusted.oomd_avoid"),
    "prefer": ("user.oomd_prefer", "trusted.oomd_prefer"),
}
"""Marks of groups, as oomd and systemd set them (ManagedOOMPreference=)."""
HOST: Final = Target(kind="host", id="", name="host")


class Targets:
    """By the ids that the sampler has for them."""

    def __init__(self, host: Host, containers: Containers, groups: Groups) -> None:
        self._host = host
        self._group_set = groups
        self._containers = containers
        self._known: dict[str, tuple[Record, Target]] = {}
        self._groups: dict[str, Target] = {}

    def get(self, sampled_id: str) -> Target | None:
        """None: a container that is gone or does not run."""
        if sampled_id.startswith(_GROUP):
            known_group = self._groups.get(sampled_id)
            if known_group is None:
                path = sampled_id.removeprefix(_GROUP)
                known_group = Target(kind="cgroup", id=path, name=path)
                self._groups[sampled_id] = known_group
            return known_group
        container = self._containers.get(sampled_id)
        if container is None or not container.running:
            self._known.pop(sampled_id, None)
            return None
        known = self._known.get(sampled_id)
        if known is None or known[0] is not container.record:
            known = self._known[sampled_id] = container.record, self._of(container)
        return known[1]

    def _of(self, container: Container) -> Target:
        above = self._group_set.above(container.record.cgroup_path)
        return _of(container, tuple(group.name for group in above))

    def forget_all_but(self, kept: Collection[str]) -> None:
        """Groups whose keys are not among these."""
        self._groups = {id_: one for id_, one in self._groups.items() if one.key in kept}

    def of_key(self, key: str) -> Target | None:
        """The inverse of `Target.key`, of a container also where it does not run."""
        kind, _, id_ = key.partition(":")
        if kind == "host":
            return HOST
        if kind == "cgroup":
            return Target(kind="cgroup", id=id_, name=id_)
        container = self._containers.get(id_)
        return None if container is None else self._of(container)

    def marked(self, target: Target) -> Target:
        """A group with the mark that its directory has; a container's is known already."""
        if target.kind != "cgroup":
            return target
        directory = self._host.group(target.id).unified_dir()
        for mark, names in _XATTRS.items() if directory else ():
            if any(_has_xattr(directory or "", name) for name in names):
                return Target(kind="cgroup", id=target.id, name=target.name, mark=mark)
        return target

    def path(self, target: Target) -> str:
        """Of its cgroup."""
        container = self._containers.get(target.id) if target.kind == "container" else None
        return container.record.cgroup_path if container else target.id or "/"


def sampled_id(target: Target) -> str:
    """Its id in the sampler."""
    return target.id if target.kind == "container" else f"{_GROUP}{target.id or '/'}"


def _of(container: Container, groups: tuple[str, ...]) -> Target:
    labels = container.record.resolved.labels
    mark = labels.get(MARK_LABEL, "")
    return Target(
        kind="container",
        id=container.id,
        name=container.name,
        labels=labels,
        groups=groups,
        mark=mark if mark in MARKS else "",
    )


def _has_xattr(directory: str, name: str) -> bool:
    with contextlib.suppress(OSError):
        return os.getxattr(directory, name).strip(b"\0") == b"1"
    return False
