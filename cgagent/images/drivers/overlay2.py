"""The overlayfs driver: `<data_root>/containers-rw/<container id>/{upper,work}`.

https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import TYPE_CHECKING

from cgagent.images.drivers import RootFs
from cgagent.images.unpack.trees import remove_tree
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Overlay2:
    def __init__(self, data_root: Path) -> None:
        self._root = data_root / "containers-rw"
        with disk_full_is_no_space(f"container directory {self._root}"):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def prepare(self, container_id: str, lowers: Sequence[str]) -> RootFs:
        directory = self._root / container_id
        upper, work = directory / "upper", directory / "work"
        with disk_full_is_no_space(f"container {container_id[:12]}: root file system"):
            directory.mkdir(mode=0o700)
            try:
                upper.mkdir()
                work.mkdir(mode=0o700)
                # The merged root has the attributes of the uppermost one.
                image_root = os.stat(lowers[0])
                os.chown(upper, image_root.st_uid, image_root.st_gid)
                os.chmod(upper, stat.S_IMODE(image_root.st_mode))
            except BaseException:
                shutil.rmtree(directory)
                raise
        return RootFs(tuple(lowers), str(upper), str(work))

    def remove(self, container_id: str) -> None:
        # A container nests as deep as it likes, and overlayfs leaves work/work with mode 000.
        with contextlib.suppress(FileNotFoundError):
            remove_tree(os.fsencode(self._root / container_id))

    def move(self, container_id: str, where: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._root / container_id).rename(where)

    def containers(self) -> set[str]:
        return {path.name for path in self._root.iterdir()}
