"""What a parent and a child made for one purpose say to each other.

`cgagent oci create` with its container's process, the agent with `runtime.helpers.mapped`.
"""

from __future__ import annotations

from typing import Any, Final

from cgagent.messages.record import Message, Record
from cgagent.runtime.messages.outcomes import Failed


class Made(Message):
    """The process has joined its cgroup and made its namespaces."""


class Waiting(Message):
    """Only exec is left; a container's first process waits for the start."""


class Go(Message):
    """Go on. To a container's process that has `Made` its namespaces it comes with the filter."""


REPORTS: Final[tuple[type[Made | Waiting | Failed], ...]] = (Made, Waiting, Failed)
"""What the child of `create` says."""


class MapFiles(Record):
    """Open the files of a container whose ids are mapped.

    The arguments of an overlay; without `work`, `upper` is a tree with all files.
    """

    config: dict[str, Any]
    """The OCI configuration."""
    lowers: tuple[str, ...]
    upper: str
    work: str | None
    staging: str
    """A directory to mount over."""
    first: int
    """Of the ids on the host."""
    count: int


class MappedTrees(Message):
    """With descriptors: of the root, then of the mounts at these places of the configuration."""

    places: tuple[int, ...]


MAPPED: Final[tuple[type[MappedTrees | Failed], ...]] = (MappedTrees, Failed)
