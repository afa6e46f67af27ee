"""Drivers without an overlay: each container has a tree of its own, with all of its image's files.

The image's tree is made when its first container is, beside the uppermost layer:
`<data_root>/overlay2/<chain id>/tree`, and goes with that. A container's is
`<data_root>/containers-rw/<container id>/tree`: with vfs a copy, with btrfs a snapshot.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent import bare
from cgagent.errors import InternalError, UnsupportedError
from cgagent.images.drivers import RootFs
from cgagent.images.drivers.directories import Directories
from cgagent.images.unpack.trees import remove_tree
from cgagent.kernel import btrfs
from cgagent.kernel.syncing import sync_file_system
from cgagent.store.disk import FULL, disk_full_is_no_space, no_space

if TYPE_CHECKING:
    from collections.abc import Sequence

_TREE: Final = "tree"


class Trees(Directories):
    """What vfs and btrfs have in common: all but how a directory and a copy of it are made."""

    name: str
    is_quick: Final = False

    @property
    def limits(self) -> str:
        return f"{self.name} cannot; overlay2 can, on ext4 or xfs mounted with prjquota"

    def __init__(self, data_root: Path) -> None:
        super().__init__(data_root)
        self._making = threading.Lock()  # an image's tree is made once

    def make(self, directory: Path) -> None:
        """An empty one."""
        raise NotImplementedError

    def copy(self, tree: Path, directory: Path) -> None:
        """One with the same content; `directory` is not there."""
        raise NotImplementedError

    def destroy(self, directory: Path) -> None:
        remove_tree(os.fsencode(directory))

    def prepare(
        self, container_id: str, lowers: Sequence[str], limit_bytes: int | None = None
    ) -> RootFs:
        if limit_bytes is not None:
            raise UnsupportedError(
                f"--storage-opt size cannot be had: the storage driver {self.limits}"
            )
        if tuple(lowers) == ("/",):
            raise UnsupportedError(
                f"image host is no copy of this machine's files: the storage driver {self.name} "
                "cannot make a root of it, overlay2 can"
            )
        directory = self.root / container_id
        with disk_full_is_no_space(f"container {container_id[:12]}: root file system", self.root):
            tree = self._image_tree(lowers)
            directory.mkdir(mode=0o700)
            try:
                self.copy(tree, directory / _TREE)
            except BaseException:
                self.remove(container_id)
                raise
        return RootFs(tuple(lowers), str(directory / _TREE), None)

    def written_bytes(self, container_id: str) -> int | None:  # noqa: ARG002 -- of the protocol
        return None

    def remove(self, container_id: str) -> None:
        tree = self.root / container_id / _TREE
        if tree.is_dir():
            self.destroy(tree)
        super().remove(container_id)

    def _image_tree(self, lowers: Sequence[str]) -> Path:
        """Of the layers; it is there with its name when all of it is on disk."""
        layer = Path(os.path.realpath(lowers[0])).parent
        tree = layer / _TREE
        with self._making:
            if tree.is_dir():
                return tree
            for left in layer.glob("tmp-*"):  # of an agent that was killed
                self.destroy(left)
            making = Path(tempfile.mktemp(prefix="tmp-", dir=layer))  # noqa: S306 -- ours alone
            self.make(making)
            try:
                merge(making, [os.path.realpath(lower) for lower in reversed(lowers)])
                sync_file_system(layer)
                making.rename(tree)
            except BaseException:
                self.destroy(making)
                raise
        return tree


class Vfs(Trees):
    """Copies; their content is shared where the file system can (xfs, btrfs)."""

    name: Final = "vfs"

    def make(self, directory: Path) -> None:
        directory.mkdir()

    def copy(self, tree: Path, directory: Path) -> None:
        directory.mkdir()
        merge(directory, [str(tree)])


class Btrfs(Trees):
    """Subvolumes and their snapshots, where the data root is on btrfs."""

    name: Final = "btrfs"

    def make(self, directory: Path) -> None:
        btrfs.make_subvolume(directory)

    def copy(self, tree: Path, directory: Path) -> None:
        btrfs.snapshot(tree, directory)

    def destroy(self, directory: Path) -> None:
        try:
            btrfs.delete_subvolume(directory)
        except OSError as e:
            if e.errno not in {errno.ENOTEMPTY, errno.EINVAL, errno.ENOTTY}:
                raise
            super().destroy(directory)  # a container has made subvolumes in it


def merge(target: Path, layers: Sequence[str]) -> None:
    """Fill the directory, in a child: with `layers`, bottom first.

    Raises:
        NoSpaceError
        InternalError: a layer is damaged, or the file system cannot have what is in it.
    """
    done = subprocess.run(
        bare.command("cgagent.images.unpack.merge", str(target), *layers),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        cwd="/",
        env={},
    )
    what = f"root file system {target}"
    if not done.stdout:
        raise InternalError(f"{what}: the copying process died with status {done.returncode}")
    told = json.loads(done.stdout)
    if told.get("errno") in FULL:
        raise no_space(what, target)
    if told:
        raise InternalError(f"{what}: cannot be made: {told['message']}")
