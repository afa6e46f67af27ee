"""Reading a group's usage again and again at the least cost.

A `Reader` keeps one descriptor for each file: a pread costs a tenth of an open, read and
close. It belongs to whoever samples; close it when the group has gone.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Self

from cgagent.cgroups import files
from cgagent.errors import NotFoundError

if TYPE_CHECKING:
    from types import TracebackType

    from cgagent.cgroups.group import Group
    from cgagent.cgroups.usage import Usage


class Reader:
    """Usage of one group. Holds up to 20 descriptors; not to be shared between threads.

    It stays with the group it was made for: one that was removed and made again under the
    same path is another, and reading raises NotFoundError.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._controllers = group.controllers()
        self._descriptors: dict[str, int | None] = {}

    def read(self) -> Usage:
        """The group's usage now.

        Raises:
            NotFoundError: the group is gone.
        """
        usage = self._controllers.usage(self._read)
        if all(descriptor is None for descriptor in self._descriptors.values()):
            raise self._gone()
        return usage

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            if descriptor is not None:
                os.close(descriptor)
        self._descriptors = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, path: str) -> str | None:
        if path not in self._descriptors:
            self._descriptors[path] = _open(path)
        descriptor = self._descriptors[path]
        if descriptor is None:
            return None
        try:
            return files.read_all(descriptor)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise self._gone() from error
            if error.errno in files.ABSENT:
                return None
            raise files.failure(f"{path}: cannot be read", error) from error

    def _gone(self) -> NotFoundError:
        return NotFoundError(f"cgroup {self._group.path}: it does not exist")


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in files.ABSENT:
            return None
        raise files.failure(f"{path}: cannot be opened", error) from error
