"""What goes into a tar of a container's files."""

from __future__ import annotations

import pytest

from cgagent.images.unpack import tarwriter


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("user.comment", True),
        ("user.ä", True),
        ("trusted.overlay.opaque", False),
        ("user.a=b", False),
        ("user.\udcff", False),
    ],
)
def test_attributes_that_a_tar_can_hold(name, kept):
    assert tarwriter._is_kept(name) is kept
