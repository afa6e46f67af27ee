"""The overlayfs driver: `<data_root>/containers-rw/<container id>/{upper,work}`.

https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from cgagent.errors import UnsupportedError
from cgagent.images.drivers import RootFs
from cgagent.images.drivers.directories import Directories
from cgagent.images.drivers.quota import Projects
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Overlay2(Directories):
    name: Final = "overlay2"
    is_quick: Final = True

    def __init__(self, data_root: Path) -> None:
        super().__init__(data_root)
        self._projects = Projects.where_possible(self.root)

    @property
    def limits(self) -> str:
        if self._projects is not None:
            return "by project quotas"
        return (
            f"no project quotas at {self.root.parent}: it needs ext4 or xfs mounted with prjquota"
        )

    def prepare(
        self, container_id: str, lowers: Sequence[str], limit_bytes: int | None = None
    ) -> RootFs:
        if limit_bytes is not None and self._projects is None:
            raise UnsupportedError(f"--storage-opt size cannot be had: {self.limits}")
        directory = self.root / container_id
        upper, work = directory / "upper", directory / "work"
        with disk_full_is_no_space(f"container {container_id[:12]}: root file system", self.root):
            directory.mkdir(mode=0o700)
            try:
                if self._projects is not None:  # what is made below it belongs to it, too
                    self._projects.begin(directory, limit_bytes)
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

    def written_bytes(self, container_id: str) -> int | None:
        return self._projects.used_bytes(self.root / container_id) if self._projects else None
