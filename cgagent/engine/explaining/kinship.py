"""Which groups are above one and which beside it, whose each is, and what is known of them all."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from cgagent.cgroups import Limits, files
from cgagent.errors import CgagentError
from cgagent.policy.causes import Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups import Group as KernelGroup
    from cgagent.cgroups import Host
    from cgagent.engine.containers.registry import Containers
    from cgagent.policy.causes import Figures

_MOST_BESIDE: Final = 300
"""Groups that are read at most: on a host with more of them an answer would take too long."""


class Kin(NamedTuple):
    """Paths of the groups that have to do with one."""

    chain: list[str]
    """Itself, then those above it, the nearest first."""
    below: list[str]
    beside: dict[str, str]
    """Those beside one of the chain and below these, each with that member."""


@dataclass(frozen=True, slots=True)
class Kinship:
    """Made for one explanation: containers come and go."""

    host: Host
    names: dict[str, str]
    """Of containers, by the paths of their groups."""
    parent: str
    """Groups below it are the agent's own."""
    groups: dict[str, str] = field(default_factory=dict)
    """Of groups of containers, by the paths of their cgroups."""

    @classmethod
    def of(cls, host: Host, containers: Containers, parent: str, groups: dict[str, str]) -> Kinship:
        names = {c.record.cgroup_path: c.name for c in containers if c.running}
        return cls(host, names, parent.rstrip("/"), groups)

    def of_group(self, path: str) -> Kin:
        chain = self.chain(path)
        return Kin(chain, self.below(path), self.beside(chain))

    def chain(self, path: str) -> list[str]:
        """The path, and those above it without the root group's; "/" itself has none above."""
        parts = path.strip("/").split("/")
        return ["/" + "/".join(parts[:end]) for end in range(len(parts), 0, -1)]

    def beside(self, chain: list[str]) -> dict[str, str]:
        """Paths of the groups beside those of a chain, and of all below these, the nearest first.

        Each has the member of the chain that it is beside.
        """
        found: dict[str, str] = {}
        if chain == ["/"]:
            return found
        for member in chain:
            above = member.rpartition("/")[0]
            for name in self.host.group(above or "/").children():
                path = f"{above}/{name}"
                if path not in chain:
                    for one in self._with_all_below(path):
                        if len(found) == _MOST_BESIDE:
                            return found
                        found[one] = member
        return found

    def below(self, path: str) -> list[str]:
        """Those in a group that no container has; of the root group all are its own matter."""
        found = itertools.islice(self._with_all_below(path), 1, _MOST_BESIDE)
        return [] if path in {"/", *self.names} else list(found)

    def _with_all_below(self, path: str) -> Iterator[str]:
        yield path
        if path not in self.names:  # what a container has below its group is its own matter
            for name in self.host.group(path).children():
                yield from self._with_all_below(f"{path}/{name}")

    def describe(
        self, path: str, figures: Figures, limits: Limits, *, is_frozen: bool = False
    ) -> Group:
        directories = self._directories(path)
        if is_frozen and not _is_frozen_by_v1(directories):  # cgroup2's freezer comes first
            directories.pop("freezer", None)
        return Group(
            path=path,
            container=self.names.get(path),
            name=self.groups.get(path, ""),
            ours=self.is_ours(path),
            is_frozen=is_frozen,
            limits=limits,
            figures=figures,
            directories=directories,
            v1=frozenset(n for n, place in self.host.placements.items() if place.version == 1),
        )

    def is_ours(self, path: str) -> bool:
        ours = (self.parent, *self.names)
        return any(f"{path}/".startswith(f"{top}/") for top in ours)

    def _directories(self, path: str) -> dict[str, str]:
        inside = path.rstrip("/")
        found = {name: place.mount + inside for name, place in self.host.placements.items()}
        if self.host.unified:
            unified = self.host.unified.mount + inside
            return {"cgroup": unified, "pressure": unified, **found}
        return found


def _is_frozen_by_v1(directories: dict[str, str]) -> bool:
    state = files.read(f"{directories.get('freezer', '')}/freezer.state")
    return state is not None and state.strip() != "THAWED"


def held(group: KernelGroup) -> Limits:
    """What the kernel holds; nothing of a group that has gone meanwhile."""
    try:
        return group.held()
    except CgagentError:
        return Limits()
