"""Root file systems from layers: what every storage driver offers.

A driver mounts nothing. It makes directories and says what to mount; the runtime mounts inside
the container's own mount namespace, so no mount can outlive its container on the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RootFs:
    """What a container's root is mounted of. Absolute paths."""

    lowers: tuple[str, ...]
    """The image's layers, top first, as in the ``lowerdir=`` option."""
    upper: str
    work: str | None
    """Of the overlay; None: there is none, and `upper` is a tree of its own, with all files."""


class Driver(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> str:
        """A sentence for people on whether what a container writes can be limited."""
        ...

    @property
    def is_quick(self) -> bool:
        """`prepare` is a few system calls; else it belongs into a thread."""
        ...

    def prepare(
        self, container_id: str, lowers: Sequence[str], limit_bytes: int | None = None
    ) -> RootFs:
        """A fresh writable root over `lowers`, top first. Nothing is left behind on failure.

        Raises:
            NoSpaceError
            UnsupportedError: what the container writes cannot be limited to `limit_bytes` here.
        """
        ...

    def written_bytes(self, container_id: str) -> int | None:
        """What the container's files have on disk; None: only a walk can tell."""
        ...

    def remove(self, container_id: str) -> None:
        """Removes what `prepare` made and the container wrote; nothing there is no error."""
        ...

    def move(self, container_id: str, where: Path) -> None:
        """Renames what `remove` would remove; `where` is on the same disk."""
        ...

    def containers(self) -> set[str]:
        """Whose directories there are."""
        ...
