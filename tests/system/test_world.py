"""The machine the system tests run on is the one they were promised."""

from __future__ import annotations

import http.client
import os
from pathlib import Path

import pytest

from tests.world.audit import Snapshot, difference

pytestmark = pytest.mark.system

CGROUP = Path("/sys/fs/cgroup")


def _mounted(kind: str) -> list[Path]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [Path(words[1]) for words in map(str.split, lines) if words[2] == kind]


def test_runs_as_root():
    assert os.geteuid() == 0


def test_cgroup_layout_is_the_one_asked_for():
    mode = os.environ.get("CGAGENT_TEST_MODE")
    if mode is None:
        pytest.skip("native run: the layout is the machine's own")
    v1, v2 = bool(_mounted("cgroup")), bool(_mounted("cgroup2"))
    assert {"v2": (False, True), "v1": (True, False), "hybrid": (True, True)}[mode] == (v1, v2)
    assert (CGROUP / "cgroup.controllers").exists() == (mode == "v2")


def test_a_cgroup_can_be_made_in_every_hierarchy_and_the_audit_sees_it():
    hierarchies = _mounted("cgroup") + _mounted("cgroup2")
    assert hierarchies
    for hierarchy in hierarchies:
        group = hierarchy / "cgagent-test-world"
        before = Snapshot.take()
        group.mkdir()
        try:
            assert (group / "cgroup.procs").exists()
            assert difference(before, Snapshot.take()) == [f"cgroups: {group}"]
        finally:
            group.rmdir()
        assert difference(before, Snapshot.take()) == []


def test_state_disk_takes_an_overlay(data_root):
    probe = data_root / "probe"
    probe.touch()
    os.setxattr(probe, "trusted.overlay.opaque", b"y")
    assert os.getxattr(probe, "trusted.overlay.opaque") == b"y"


def test_registry_serves_alpine(registry, slowness):
    host, _, port = registry.address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10 * slowness)
    try:
        connection.request("GET", "/v2/library/alpine/tags/list")
        body = connection.getresponse().read()
    finally:
        connection.close()
    assert b'"3.23"' in body
    assert b'"latest"' in body


def test_archives_are_there(alpine_docker_archive, alpine_oci_archive, busybox_docker_archive):
    for archive in (alpine_docker_archive, alpine_oci_archive, busybox_docker_archive):
        assert archive.stat().st_size > 1 << 20 or archive is busybox_docker_archive
