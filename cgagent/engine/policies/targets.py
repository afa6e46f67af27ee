"""Containers, groups of them, and cgroups of the host as rulesets see them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.metrics import cgroup_of_id, id_of_cgroup
from cgagent.policy.rulesets.model import Target

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cgagent.cgroups import Host
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.group import Group
    from cgagent.engine.groups.registry import Groups

MARK_LABEL: Final = "cgagent.policy"
"""Of a container, or a group: ``prefer``, ``avoid`` or ``omit``."""
MARKS: Final = frozenset({"prefer", "avoid", "omit"})
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
        self._groups = groups
        self._containers = containers
        self._known: dict[str, tuple[Record, Target]] = {}
        self._cgroups: dict[str, tuple[Group | None, Target]] = {}

    def get(self, sampled_id: str) -> Target | None:
        """None: a container that is gone or does not run."""
        path = cgroup_of_id(sampled_id)
        if path is not None:
            return self._of_cgroup(sampled_id, path)
        container = self._containers.get(sampled_id)
        if container is None or not container.running:
            self._known.pop(sampled_id, None)
            return None
        known = self._known.get(sampled_id)
        if known is None or known[0] is not container.record:
            known = self._known[sampled_id] = container.record, self._of(container)
        return known[1]

    def _of_cgroup(self, sampled_id: str, path: str) -> Target:
        group = self._groups.at(path)
        known = self._cgroups.get(sampled_id)
        if known is None or known[0] is not group:
            named = of_group(group, self._groups) if group else None
            known = group, named or Target(kind="cgroup", id=path, name=path)
            self._cgroups[sampled_id] = known
        return known[1]

    def _of(self, container: Container) -> Target:
        above = self._groups.above(container.record.cgroup_path)
        return of_container(container, tuple(group.name for group in above))

    def forget_all_but(self, kept: Collection[str]) -> None:
        """Groups whose keys are not among these."""
        self._cgroups = {id_: one for id_, one in self._cgroups.items() if one[1].key in kept}

    def of_key(self, key: str) -> Target | None:
        """The inverse of `Target.key`, of a container also where it does not run."""
        kind, _, id_ = key.partition(":")
        if kind == "host":
            return HOST
        if kind == "cgroup":
            return Target(kind="cgroup", id=id_, name=id_)
        if kind == "group":
            group = self._groups.get(id_)
            return None if group is None else of_group(group, self._groups)
        container = self._containers.get(id_)
        return None if container is None else self._of(container)

    def marked(self, target: Target) -> Target:
        """A group with the mark that its directory has; a container's is known already.

        A group of containers is omitted where something in it is.
        """
        if target.kind == "group" and self._has_omitted(target.name):
            return replace(target, mark="omit")
        if target.kind not in {"cgroup", "group"} or target.mark:
            return target
        directory = self._host.group(self.path(target)).unified_dir()
        for mark, names in _XATTRS.items() if directory else ():
            if any(_has_xattr(directory or "", name) for name in names):
                return replace(target, mark=mark)
        return target

    def _has_omitted(self, name: str) -> bool:
        inside = (c.record.resolved.labels for c in self._groups.members(name) if c.running)
        if any(_mark(labels) == "omit" for labels in inside):
            return True
        below = (of_group(group, self._groups) for group in self._groups.children(name))
        return any(self.marked(one).mark == "omit" for one in below)

    def path(self, target: Target) -> str:
        """Of its cgroup."""
        container = self._containers.get(target.id) if target.kind == "container" else None
        return container.record.cgroup_path if container else target.path or target.id or "/"


def sampled_id(target: Target) -> str:
    """Its id in the sampler."""
    if target.kind == "container":
        return target.id
    return id_of_cgroup(target.path or target.id or "/")


def of_container(container: Container, groups: tuple[str, ...] = ()) -> Target:
    """`groups` are the names of those that it is in."""
    labels = container.record.resolved.labels
    return Target(
        kind="container",
        id=container.id,
        name=container.name,
        labels=labels,
        groups=groups,
        mark=_mark(labels),
    )


def of_group(group: Group, groups: Groups) -> Target:
    """As one, of all that there are."""
    path = groups.path(group.name)
    return Target(
        kind="group",
        id=group.name,
        name=group.name,
        labels=group.labels,
        groups=tuple(one.name for one in groups.above(path)),
        path=path,
        mark=_mark(group.labels),
    )


def _mark(labels: Mapping[str, str]) -> str:
    mark = labels.get(MARK_LABEL, "")
    return mark if mark in MARKS else ""


def _has_xattr(directory: str, name: str) -> bool:
    with contextlib.suppress(OSError):
        return os.getxattr(directory, name).strip(b"\0") == b"1"
    return False
