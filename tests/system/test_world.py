"""The machine the system tests run on is the one they were promised."""

from __future__ import annotations

import http.client
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.world.audit import Snapshot, difference
from tests.world.kernel import layout
from tests.world.naming import CGROUP_PREFIX

pytestmark = pytest.mark.system

CGROUP = Path("/sys/fs/cgroup")


def _mounted(kind: str) -> list[Path]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [Path(words[1]) for words in map(str.split, lines) if words[2] == kind]


def test_runs_as_root():
    assert os.geteuid() == 0


def test_cgroup_layout_is_the_one_asked_for():
    if "CGAGENT_TEST_MODE" not in os.environ:
        pytest.skip("native run: the layout is the machine's own")
    asked = layout(os.environ["CGAGENT_TEST_MODE"])
    v1, v2 = bool(_mounted("cgroup")), bool(_mounted("cgroup2"))
    assert {"v2": (False, True), "v1": (True, False), "hybrid": (True, True)}[asked] == (
        v1,
        v2,
    )
    assert (CGROUP / "cgroup.controllers").exists() == (asked == "v2")


def test_a_cgroup_can_be_made_in_every_hierarchy_and_the_audit_sees_it():
    hierarchies = _mounted("cgroup") + _mounted("cgroup2")
    assert hierarchies
    for hierarchy in hierarchies:
        group = hierarchy / f"{CGROUP_PREFIX}world"
        before = Snapshot.take()
        group.mkdir()
        try:
            assert (group / "cgroup.procs").exists()
            assert f"cgroups: {group}" in difference(before, Snapshot.take())
        finally:
            group.rmdir()
        assert f"cgroups: {group}" not in difference(before, Snapshot.take())


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


def _names_and(archive, member):
    with tarfile.open(archive) as tar:
        return tar.getnames(), json.load(tar.extractfile(member))


def test_docker_archives_name_their_images(alpine_docker_archive, busybox_docker_archive):
    _, (alpine,) = _names_and(alpine_docker_archive, "manifest.json")
    assert {"alpine:latest", "alpine:3.23"} <= {
        t.removeprefix("docker.io/library/") for t in alpine["RepoTags"]
    }
    names, (busybox,) = _names_and(busybox_docker_archive, "manifest.json")
    assert set(busybox["Layers"]) <= set(names)


def test_oci_archive_holds_the_blobs_it_names(alpine_oci_archive):
    names, index = _names_and(alpine_oci_archive, "index.json")
    for manifest in index["manifests"]:
        assert f"blobs/sha256/{manifest['digest'].removeprefix('sha256:')}" in names
