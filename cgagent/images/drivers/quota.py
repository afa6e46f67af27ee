"""Project quotas: what the files below a directory may have on disk, and what they have.

ext4 and xfs count them where they are mounted with prjquota. A project is a number in each inode,
which new files have from their directory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cgagent.kernel import quota

if TYPE_CHECKING:
    from pathlib import Path

_FIRST: Final = 1 << 20
"""Below it are the projects that people number by hand."""


class Projects:
    """One for each directory in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._next = max([_FIRST - 1, *map(project_of, root.iterdir())]) + 1

    @classmethod
    def where_possible(cls, root: Path) -> Projects | None:
        """None: the file system does not count projects, or the kernel is older than 5.14."""
        try:
            _usage(root, 0)
        except OSError:
            return None
        return cls(root)

    def begin(self, directory: Path, limit_bytes: int | None) -> None:
        """A project for the empty directory; what is made in it belongs to it.

        Raises:
            OSError: the kernel refuses it.
        """
        project, self._next = self._next, self._next + 1
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            quota.limit_project(fd, project, limit_bytes)  # also takes off what an earlier one had
            quota.enter_project(fd, project)
        finally:
            os.close(fd)

    def used_bytes(self, directory: Path) -> int | None:
        """None: it has no project, being older than the quota, or it is gone."""
        try:
            project = project_of(directory)
            return _usage(self._root, project) if project >= _FIRST else None
        except OSError:
            return None


def project_of(directory: Path) -> int:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return quota.project(fd)
    finally:
        os.close(fd)


def _usage(directory: Path, project: int) -> int:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return quota.project_bytes(fd, project)
    finally:
        os.close(fd)
