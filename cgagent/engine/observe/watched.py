"""Groups of the host that are sampled beside the containers, found by patterns.

A pattern is a path below the root group, each part with the wildcards of a shell; ``**`` stands
for any number of levels. What is below the agent's own parent group or is a container's is never
matched. Used by the sampler's thread alone.
"""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from cgagent.metrics import ChosenLabels, Target, id_of_cgroup
from cgagent.watchlist import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgagent.cgroups import Group, Host


class WatchedGroups:
    def __init__(
        self,
        host: Host,
        rules: tuple[Watch, ...],
        own_parent: str,
        interval_s: float,
        containers: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`containers` has the paths of containers' groups, wherever they are."""
        self._host = host
        self._settings = rules
        self._rules = [_Rule(rule) for rule in rules]
        self._own_parent = own_parent.rstrip("/")
        self._interval_s = interval_s
        self._containers = containers
        self._taken: frozenset[str] = frozenset()
        self._found: dict[str, Target] = {}
        self._due_s = 0.0

    def watch_too(self, patterns: Iterable[str]) -> None:
        """Patterns beside those of the settings, in place of the last ones. From any thread."""
        extra = (Watch(pattern) for pattern in sorted(set(patterns)))
        self._rules = [_Rule(rule) for rule in (*self._settings, *extra)]
        self._due_s = 0.0

    def targets(self) -> tuple[list[Target], list[Target]]:
        """Those there are, looked for anew at each interval, and those that have gone since.

        Of several patterns that match a group the first counts.
        """
        if not (self._rules or self._found) or time.monotonic() < self._due_s:
            return list(self._found.values()), []
        self._due_s = time.monotonic() + self._interval_s
        before, self._found = self._found, {}
        self._taken = frozenset((self._own_parent, *self._containers()))
        root = self._host.group("/")
        for rule in self._rules:
            for group in self._match(root, rule.parts, rule.depth):
                path = group.path
                if path not in self._found:
                    self._found[path] = before.get(path) or rule.target(path)
        return list(self._found.values()), [t for p, t in before.items() if p not in self._found]

    def _match(self, group: Group, pattern: list[str], levels: int) -> Iterator[Group]:
        if not pattern:
            if group.path != "/":
                yield group
            return
        part, *rest = pattern
        if part == "**":
            yield from self._match(group, rest, levels)
            rest = pattern
            if not levels:
                return
        for name in sorted(group.children()):
            if part == "**" or fnmatchcase(name, part):
                child = self._host.group(f"{group.path.rstrip('/')}/{name}")
                if child.path not in self._taken:
                    yield from self._match(child, rest, levels - (part == "**"))


class GroupsAbove:
    """The root group, the agent's own, and all that containers and watched groups are below.

    Their figures have those of all below them: as in cAdvisor, their series have no name.
    """

    def __init__(self, own_parent: str) -> None:
        self._own_parent = own_parent.rstrip("/")
        self._known: dict[str, Target] = {}

    def targets(
        self, others: list[Target], named: Iterable[str] = ()
    ) -> tuple[list[Target], list[Target]]:
        """Those there are now, none of `others` among them, and those that have gone since.

        `named` are paths of groups of containers, sampled though nothing may run in them.
        """
        paths = {other.cgroup_path for other in others}
        folders = {self._own_parent, *(_above(path) for path in paths), *named}
        above = set(folders)
        for path in folders:
            while path := _above(path):
                above.add(path)
        above = {path or "/" for path in (*above, "")} - paths
        before = self._known
        self._known = {path: before.get(path) or target_of(path) for path in sorted(above)}
        return list(self._known.values()), [t for p, t in before.items() if p not in above | paths]


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def target_of(path: str) -> Target:
    """Of a group above others."""
    return Target(id_of_cgroup(path), "", "", path, 0.0, is_above=True)


class _Rule:
    def __init__(self, watch: Watch) -> None:
        self.parts = watch.pattern.strip("/").split("/")
        self.depth = watch.depth
        self._watch = watch
        labels = dict(watch.labels)
        self._labels = ChosenLabels(labels).of(labels)

    def target(self, path: str) -> Target:
        name = self._watch.name_of(path)
        return Target(id_of_cgroup(path), name, "", path, 0.0, labels=self._labels)
