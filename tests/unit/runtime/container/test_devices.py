import os

import pytest

from cgagent.runtime.container import devices


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dev").mkdir()
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def test_what_is_seen_at_dev_must_be_what_was_just_mounted_there(root, tmp_path):
    number = os.stat(tmp_path).st_dev
    with pytest.raises(FileExistsError):  # the file system that was there before the mount
        devices.open_mounted(root, number)
    os.close(devices.open_mounted(root, number + 1))
    (tmp_path / "dev" / "somebody's").touch()
    with pytest.raises(FileExistsError):  # a fresh one is empty
        devices.open_mounted(root, number + 1)
