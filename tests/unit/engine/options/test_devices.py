import os
import stat

import pytest

from cgagent.engine.options import devices
from cgagent.engine.options.devices import Device
from cgagent.errors import InvalidInputError

NULL = Device(path_on_host="/dev/null", path_in_container="/dev/mine", access="r")


def test_a_node_and_a_rule():
    (node,) = devices.nodes([NULL], privileged=False)
    assert (node.path, node.kind, node.major, node.minor) == ("/dev/mine", "c", 1, 3)
    assert node.mode == os.stat("/dev/null").st_mode & 0o7777
    assert devices.rules([NULL], [], privileged=False) == (
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
    )


def test_nothing_asked_leaves_the_rules_of_every_container():
    assert devices.rules([], [], privileged=False) == ()
    assert devices.nodes([], privileged=False) == ()


def test_a_link_leads_to_a_device(tmp_path):
    (tmp_path / "link").symlink_to("/dev/null")
    link = Device(path_on_host=str(tmp_path / "link"), path_in_container="/dev/x")
    assert devices.nodes([link], privileged=False)[0].minor == 3


def test_rules_of_ones_own():
    assert devices.rules([], ["c *:7 rw", "b 8:* m", "a *:* rwm"], privileged=False)[1:] == (
        {"allow": True, "type": "c", "minor": 7, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "access": "m"},
        {"allow": True, "type": "a", "access": "rwm"},
    )


def test_privileged_is_everything():
    assert devices.rules([], [], privileged=True) == ({"allow": True, "access": "rwm"},)
    paths = {n.path for n in devices.nodes([], privileged=True)}
    assert "/dev/null" in paths
    assert not paths & {"/dev/ptmx", "/dev/console"}
    assert not any(p.startswith(("/dev/pts/", "/dev/shm/")) for p in paths)


@pytest.mark.parametrize(
    "wrong",
    [
        Device(path_on_host="dev/null", path_in_container="/dev/x"),
        Device(path_on_host="/dev/null", path_in_container="x"),
        Device(path_on_host="/dev/null", path_in_container="/dev/"),
        Device(path_on_host="/dev/null", path_in_container="//dev"),
        Device(path_on_host="/dev/null", path_in_container="/"),
        Device(path_on_host="/dev/null", path_in_container="/dev/x", access="rr"),
        Device(path_on_host="/dev/null", path_in_container="/dev/x", access=""),
        Device(path_on_host="/etc/passwd", path_in_container="/dev/x"),
        Device(path_on_host="/no/such", path_in_container="/dev/x"),
        Device(path_on_host="/dev/null\0", path_in_container="/dev/x"),
    ],
)
def test_devices_that_are_none(wrong):
    with pytest.raises(InvalidInputError):
        devices.rules([wrong], [], privileged=False)
    with pytest.raises(InvalidInputError):
        devices.rules([wrong], [], privileged=True)


@pytest.mark.parametrize("rule", ["", "c 1:3", "c 1:3 x", "d 1:3 r", "c 1:3 rwmr", "c -1:3 r"])
def test_rules_that_are_none(rule):
    with pytest.raises(InvalidInputError, match="invalid device cgroup rule format"):
        devices.rules([], [rule], privileged=False)


def test_in_a_directory_links_count_as_nothing(tmp_path):
    folder = Device(path_on_host=str(tmp_path), path_in_container="/dev/x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(InvalidInputError, match="no device is in"):
        devices.nodes([folder], privileged=False)
    os.mknod(tmp_path / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (node,) = devices.nodes([folder], privileged=False)
    assert (node.path, node.major, node.minor) == ("/dev/x/null", 1, 3)
