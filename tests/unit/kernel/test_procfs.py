import errno
import os

import pytest

from cgagent.errors import InternalError
from cgagent.kernel import procfs


@pytest.fixture
def root():
    fd = procfs.open_root()
    yield fd
    os.close(fd)


@pytest.mark.parametrize("path", ["/", "/sys", "/proc/self", "/proc/sys"])
def test_only_the_root_of_a_procfs_is_one(path):
    with pytest.raises(InternalError, match="is not the kernel's"):
        procfs.open_root(path)


def test_own_files_are_this_processes(root):
    fd = procfs.open_own(root, "status", os.O_RDONLY)
    with open(fd) as file:
        assert f"\nPid:\t{os.getpid()}\n" in file.read()


@pytest.mark.parametrize("name", ["self/status", "self/root/etc", "mounts", "../etc/passwd"])
def test_links_are_not_followed_and_nothing_above_is_reached(root, name):
    with pytest.raises(OSError, match=r"Too many|Invalid cross") as refused:
        procfs.open_beneath(root, name, os.O_RDONLY)
    assert refused.value.errno in {errno.ELOOP, errno.EXDEV}
