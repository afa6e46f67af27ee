"""The set of groups, kept in the database, and which containers are in each.

A container is in the groups whose cgroups are above its own. So one that was made with
``--cgroup-parent`` below a group is in it as well.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cgagent.engine.groups.group import Group
from cgagent.errors import ConflictError, NotFoundError
from cgagent.store.events import EventRow
from cgagent.store.groups import GroupRow
from cgagent.units import show_second

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.store.groups import GroupRows


class Groups:
    def __init__(self, rows: GroupRows, containers: Containers, events: Events, own: str) -> None:
        """`own` is the cgroup that all groups are below."""
        self._rows = rows
        self._containers = containers
        self._events = events
        self._own = own.rstrip("/")
        found = (Group.from_document(r.name, r.created_ns, r.document) for r in rows.all())
        self._by_name = {group.name: group for group in found}

    def all(self) -> list[Group]:
        """All groups, sorted by name: a group before those in it. Any thread may ask."""
        return [group for _, group in sorted(self._by_name.items())]

    def get(self, name: str) -> Group | None:
        return self._by_name.get(name)

    def find(self, name: str) -> Group:
        """Raises NotFoundError."""
        group = self._by_name.get(name)
        if group is None:
            raise NotFoundError(f"group {name!r} does not exist; see cgagent group ls")
        return group

    def at(self, path: str) -> Group | None:
        """The group whose cgroup has this path."""
        own = f"{self._own}/"
        return self._by_name.get(path.removeprefix(own)) if path.startswith(own) else None

    def path(self, name: str) -> str:
        """Of its cgroup."""
        return f"{self._own}/{name}"

    def paths(self) -> dict[str, str]:
        """Names by the paths of their cgroups. From any thread."""
        return {self.path(name): name for name in list(self._by_name)}

    # -- who is in which --------------------------------------------------------------------

    def above(self, path: str) -> list[Group]:
        """The groups that a cgroup is in, the outermost first."""
        if not self._by_name or not path.startswith(f"{self._own}/"):
            return []
        parts = path[len(self._own) + 1 :].split("/")[:-1]
        names = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
        return [group for name in names if (group := self._by_name.get(name)) is not None]

    def of(self, container: Container) -> Group | None:
        """The innermost group that a container is in."""
        found = self.above(container.record.cgroup_path)
        return found[-1] if found else None

    def name_of(self, container: Container) -> str:
        """Empty: it is in none."""
        group = self.of(container)
        return group.name if group else ""

    def members(self, name: str) -> list[Container]:
        """All containers in it and in those below it, the ones that do not run as well."""
        inside = f"{self.path(name)}/"
        return [c for c in self._containers if c.record.cgroup_path.startswith(inside)]

    def children(self, name: str) -> list[Group]:
        """The groups in it, at any depth."""
        return [group for group in self.all() if group.name.startswith(f"{name}/")]

    def frozen_above(self, path: str) -> Group | None:
        """The outermost frozen one of the groups that a cgroup is in."""
        return next((group for group in self.above(path) if group.frozen_since_ns), None)

    def require_thawed(self, path: str, what: str) -> None:
        """Raises ConflictError: nothing can begin to run there."""
        frozen = self.frozen_above(path)
        if frozen is not None:
            raise self.refusal(frozen, what)

    def closed_above(self, path: str) -> Group | None:
        """The outermost of those groups in which nothing can begin to run."""
        above = self.above(path)
        return next((g for g in above if g.frozen_since_ns or g.stopped_until_ns), None)

    def is_stopped(self, path: str) -> bool:
        """Whether a group that it is in has spent its budget: what it stopped starts again then."""
        return any(group.stopped_until_ns for group in self.above(path))

    def require_open(self, path: str, what: str) -> None:
        """Raises ConflictError: a group that it is in is frozen, or its budget is spent."""
        self.require_thawed(path, what)
        closed = self.closed_above(path)
        if closed is not None:
            raise self.refusal(closed, what)

    @staticmethod
    def refusal(closed: Group, what: str) -> ConflictError:
        """Why nothing can begin to run in a group, and what to do."""
        if closed.frozen_since_ns:
            return ConflictError(
                f"{what}: group {closed.name} is frozen; thaw it first "
                f"(cgagent group thaw {closed.name})"
            )
        until = show_second(closed.stopped_until_ns or 0)
        return ConflictError(
            f"{what}: group {closed.name} has spent its budget, and nothing starts in it until "
            f"{until}; give it more (cgagent group update --budget ... {closed.name})"
        )

    def require_room(self, path: str, coming: str = "") -> None:
        """Raise ConflictError where a group has as many containers as it may have.

        `coming` is the id of a container that is in some of them already.
        """
        for group in self.above(path):
            if group.max_containers is None:
                continue
            others = sum(c.id != coming for c in self.members(group.name))
            if others >= group.max_containers:
                raise ConflictError(
                    f"group {group.name} has {others} of at most {group.max_containers} "
                    "containers; remove one of them, or allow more (cgagent group update "
                    f"--max-containers {others + 1} {group.name})"
                )

    # -- changes ----------------------------------------------------------------------------

    def save(self, group: Group, action: str | None = None, **attributes: str) -> None:
        """Keep it, new or in the place of what it was; and with an `action` tell of that."""
        event = None if action is None else self._event(group.name, action, attributes)
        document = group.to_document()
        row = GroupRow(name=group.name, created_ns=group.created_ns, document=document)
        self._rows.put(row, event)
        self._by_name[group.name] = group
        if event is not None:
            self._events.spread(event)

    def drop(self, name: str) -> None:
        event = self._event(name, "destroy", {})
        self._rows.delete(name, event)
        del self._by_name[name]
        self._events.spread(event)

    @staticmethod
    def _event(name: str, action: str, attributes: dict[str, str]) -> EventRow:
        told = {"name": name, **attributes}
        now = time.time_ns()
        return EventRow(time_ns=now, type="group", action=action, id=name, attributes=told)
