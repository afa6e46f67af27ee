"""A machine's cgroups, from which its groups are had: where the library is entered."""

from __future__ import annotations

from dataclasses import dataclass

from cgagent.cgroups.group import Group
from cgagent.cgroups.hierarchy import Layout, checked_path


@dataclass(frozen=True)
class Host(Layout):
    """The cgroup hierarchies of this machine. Immutable; holds no descriptors."""

    __hash__ = Layout.__hash__

    def group(self, path: str) -> Group:
        """The group of this path, the same below the visible root of every hierarchy.

        Raises:
            InvalidInputError: not absolute, or with an empty, "." or ".." component.
        """
        return Group(self, checked_path(path))
