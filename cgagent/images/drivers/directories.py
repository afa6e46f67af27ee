"""The directory of each container: `<data_root>/containers-rw/<container id>`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from cgagent.images.unpack.trees import remove_tree
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from pathlib import Path


class Directories:
    """What all drivers have in common."""

    def __init__(self, data_root: Path) -> None:
        self.root = data_root / "containers-rw"
        with disk_full_is_no_space(f"container directory {self.root}", self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self, container_id: str) -> None:
        # A container nests as deep as it likes, and overlayfs leaves work/work with mode 000.
        with contextlib.suppress(FileNotFoundError):
            remove_tree(os.fsencode(self.root / container_id))

    def move(self, container_id: str, where: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.root / container_id).rename(where)

    def containers(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}
