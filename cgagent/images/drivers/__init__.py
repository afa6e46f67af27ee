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
    """An overlayfs mount to be made. Absolute paths."""

    lowers: tuple[str, ...]
    """Top first, as in the ``lowerdir=`` option."""
    upper: str
    work: str


class Driver(Protocol):
    def prepare(self, container_id: str, lowers: Sequence[str]) -> RootFs:
        """A fresh writable root over `lowers`, top first. Nothing is left behind on failure."""
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
