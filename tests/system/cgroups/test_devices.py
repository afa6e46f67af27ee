"""Device rules: v1's controller, on cgroup2 an attached program."""

import os

import pytest

from cgagent.cgroups import CONTAINER_DEVICES, DeviceRule
from cgagent.errors import InvalidInputError

pytestmark = pytest.mark.system


def can_open(fs, group, node):
    output, _ = fs.run(group, f"exec 3<{node} && echo opened")
    return output == "opened\n"


@pytest.fixture
def kmsg(tmp_path):
    """A node that containers must not open: /dev/kmsg by another name."""
    path = tmp_path / "kmsg"
    os.mknod(path, 0o20600, os.makedev(1, 11))
    return path


def test_a_container_opens_its_own_devices_only(fs, group, kmsg, tmp_path):
    assert can_open(fs, group, kmsg)
    group.restrict_devices()
    for node in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"):
        assert can_open(fs, group, node), node
    assert not can_open(fs, group, kmsg)
    output, status = fs.run(group, f"mknod {tmp_path}/any c 1 11 && mknod {tmp_path}/disk b 8 0")
    assert status == 0, output


def test_later_rules_replace_and_refine_earlier_ones(fs, group, kmsg):
    group.restrict_devices([*CONTAINER_DEVICES, DeviceRule.parse("c 1:11 r")])
    assert can_open(fs, group, kmsg)
    assert "not permitted" in fs.run(group, f"exec 3>{kmsg}")[0]
    group.restrict_devices([DeviceRule.parse("c 1:* r"), DeviceRule.parse("c 1:* w")])
    assert fs.run(group, "exec 3<>/dev/zero && echo both")[0] == "both\n"
    group.restrict_devices([DeviceRule.parse("a"), DeviceRule.parse("c 1:8 w", allow=False)])
    assert can_open(fs, group, "/dev/random")
    assert "not permitted" in fs.run(group, "exec 3<>/dev/random")[0]
    group.restrict_devices(
        [DeviceRule.parse("c 1:5 rwm"), DeviceRule.parse("c 1:5 w", allow=False)]
    )
    assert can_open(fs, group, "/dev/zero")
    assert "not permitted" in fs.run(group, "exec 3<>/dev/zero")[0]
    group.restrict_devices([])
    assert not can_open(fs, group, "/dev/zero")


def test_part_of_a_wider_rule_cannot_be_taken_back(group):
    wide = DeviceRule.parse("c 1:* rw")
    with pytest.raises(InvalidInputError, match=r"c 1:\*"):
        group.restrict_devices([wide, DeviceRule.parse("c 1:8 r", allow=False)])
