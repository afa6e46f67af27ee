"""Any cgroup of the host: read freely, changed with care.

What is below the agent's own parent group, or in a container's, is ours. Everything else belongs to
somebody, systemd for example, and is changed only when the caller insists.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cgagent.engine.options import limits as limit_rules
from cgagent.errors import CgagentError, DeniedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups import Group, Host, Limits, Usage
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.options.limits import Conveniences

Action = Literal["freeze", "thaw", "kill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One group in a listing."""

    path: str
    container: str | None
    """The name of the container whose group it is."""
    tasks: int | None
    memory_bytes: int | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    path: str
    container: str | None
    state: str
    children: tuple[str, ...]
    held: Limits
    usage: Usage


class HostGroups:
    def __init__(self, host: Host, containers: Containers, jobs: Jobs, parent: str) -> None:
        self._host = host
        self._containers = containers
        self._jobs = jobs
        self._parent = parent.rstrip("/")

    def tree(self, path: str, depth: int) -> list[Node]:
        """A group and those below it, `depth` levels down, parents before children.

        Raises:
            NotFoundError: no such group in any hierarchy.
        """
        top = self._existing(path)
        names = {c.record.cgroup_path: c.name for c in self._containers}
        return [_node(group, names.get(group.path)) for group in _walk(self._host, top, depth)]

    def show(self, path: str) -> Detail:
        """Everything about one group.

        Raises:
            NotFoundError: no such group.
        """
        group = self._existing(path)
        return Detail(
            path=path,
            container=next(
                (c.name for c in self._containers if c.record.cgroup_path == path), None
            ),
            state=_state(group),
            children=tuple(sorted(group.children())),
            held=group.held(),
            usage=group.usage(),
        )

    async def change(self, path: str, asked: Limits, extra: Conveniences, *, force: bool) -> None:
        """Set limits, all or none.

        Raises:
            DeniedError: somebody else's group, and no `force`.
        """
        group = self._ours(path, force=force)
        async with self._jobs.run("cgroup-set", cgroup=path):
            changes = limit_rules.resolve(asked, extra, group.held())
            await asyncio.to_thread(group.apply, changes, force=force)

    async def act(self, path: str, action: Action, *, force: bool, timeout_s: float) -> None:
        """Freeze, thaw or kill all tasks of a group and those below it.

        Raises:
            DeniedError: somebody else's group, and no `force`.
        """
        group = self._ours(path, force=force)
        async with self._jobs.run(f"cgroup-{action}", cgroup=path):
            await asyncio.to_thread(getattr(group, action), timeout_s)

    def _existing(self, path: str) -> Group:
        group = self._host.group(path)
        if not group.exists():
            raise NotFoundError(f"cgroup {path} does not exist; see cgagent cgroup tree")
        return group

    def _ours(self, path: str, *, force: bool) -> Group:
        group = self._existing(path)
        if path == "/":
            raise DeniedError("cgroup / is the whole machine: it is not changed")
        ours = (self._parent, *(c.record.cgroup_path for c in self._containers))
        if not force and not any(f"{path}/".startswith(f"{top}/") for top in ours):
            raise DeniedError(
                f"cgroup {path} is not cgagent's: somebody else may rely on it; "
                "use --force to change it all the same"
            )
        return group


def _walk(host: Host, group: Group, depth: int) -> Iterator[Group]:
    yield group
    if depth > 0:
        for name in sorted(group.children()):
            yield from _walk(host, host.group(f"{group.path.rstrip('/')}/{name}"), depth - 1)


def _node(group: Group, container: str | None) -> Node:
    try:
        usage = group.usage()
    except NotFoundError:  # removed since it was listed
        return Node(
            path=group.path, container=container, tasks=None, memory_bytes=None, state="gone"
        )
    return Node(
        path=group.path,
        container=container,
        tasks=usage.pids.current,
        memory_bytes=usage.memory.current_bytes,
        state=_state(group),
    )


def _state(group: Group) -> str:
    try:
        return group.freezer_state()
    except CgagentError:  # the root group has no freezer
        return "thawed"
