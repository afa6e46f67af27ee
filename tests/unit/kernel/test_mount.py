"""Mount calls that need root and leave no mount behind."""

import errno
import os

import pytest

from cgagent.kernel import mount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_read_only_copy_cannot_be_opened_for_writing(tmp_path):
    file = tmp_path / "program"
    file.write_text("text")
    fd = mount.read_only_copy(str(file))
    try:
        with open(mount.fd_path(fd)) as readable:
            assert readable.read() == "text"
        with pytest.raises(OSError, match="Read-only") as refused:
            os.open(mount.fd_path(fd), os.O_WRONLY)
        assert refused.value.errno == errno.EROFS
    finally:
        os.close(fd)
    file.write_text("the file itself is as it was")
