"""Directory trees that an image or a container made, of any depth. Standard library only."""

from __future__ import annotations

import errno
import os
from typing import Final

PATH_MAX: Final = 4096
"""Bytes that a path in a system call may have, with the one that ends it."""


def remove_tree(root: bytes) -> None:
    """Removes a directory of any depth in constant memory and descriptors.

    shutil.rmtree recurses, and a container or an image can nest deeper than any recursion
    goes. Here a subdirectory that is not empty moves up to `root` under a name of no
    meaning, until `root` holds flat directories only. Links are removed, never followed.
    """
    count = 0
    while True:
        pending = _unlink_files(root)
        if not pending:
            os.rmdir(root)
            return
        for directory in pending:
            inner_path = os.path.join(root, directory)
            try:
                for inner in _unlink_files(inner_path):
                    while os.path.lexists(moved := os.path.join(root, b"%d" % count)):
                        count += 1
                    os.rename(os.path.join(inner_path, inner), moved)
                os.rmdir(inner_path)
            except OSError as e:
                if e.errno != errno.EXDEV:
                    raise
                remove_tree(inner_path)  # a subvolume of btrfs, which nothing is moved out of


def within_reach(path: str) -> str:
    """A name for an absolute path of any length, for system calls, which take 4,095 bytes.

    Where it is longer the process goes to a directory on the way: not for one with threads.
    """
    rest = os.fsencode(path)
    if len(rest) < PATH_MAX:
        return path
    while len(rest) >= PATH_MAX:
        cut = rest.rindex(b"/", 0, PATH_MAX)
        os.chdir(rest[:cut])
        rest = rest[cut + 1 :]
    return os.fsdecode(rest)


def _unlink_files(directory: bytes) -> list[bytes]:
    """Removes what is not a directory and the empty directories; the names of the others."""
    others = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        path = os.path.join(directory, name)
        if not is_directory:
            os.unlink(path)
            continue
        try:
            os.rmdir(path)
        except OSError as e:
            if e.errno != errno.ENOTEMPTY:
                raise
            others.append(name)
    return others
