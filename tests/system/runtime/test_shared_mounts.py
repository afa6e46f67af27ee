"""The table of mounts: in the order of the configuration, and without a namespace of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.world.naming import RUN

pytestmark = [pytest.mark.system, pytest.mark.native]

TABLE = "awk '{ print $5 }' /proc/self/mountinfo"
KINDS = ["private", "shared", "rprivate", "rshared", "slave", "rslave", "private"]


def test_binds_of_any_propagation_stand_in_the_order_given(oci, tmp_path):
    config = oci.sh(TABLE)
    places = [f"/m{number}" for number in range(len(KINDS))]
    for kind, place in zip(KINDS, places, strict=True):
        entry = {"destination": place, "type": "bind", "source": str(tmp_path)}
        config["mounts"].append({**entry, "options": ["rbind", kind]})
    found = oci.output(config).split()
    assert found[0] == "/"
    wanted = [m["destination"] for m in config["mounts"]]
    assert [place for place in found if place in wanted] == wanted


def host_mounts():
    """Those of this run: others come and go meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().split("\n")
    return [line.split()[4] for line in lines if RUN in line]


def without_own_mounts(config, path=None):
    listed = [n for n in config["linux"]["namespaces"] if n["type"] != "mount"]
    config["linux"]["namespaces"] = listed + ([{"type": "mount", "path": path}] if path else [])
    return config


@pytest.mark.parametrize("readonly", [False, True])
def test_a_container_in_the_hosts_mount_namespace_leaves_no_mount(oci, readonly):
    before = host_mounts()
    config = without_own_mounts(oci.config("sleep", "1000"))
    config["root"]["readonly"] = readonly
    bundle = oci.bundle(config)
    oci("run", "-d", "-b", str(bundle), "box")
    pid = oci.state()["pid"]
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    shown = oci("exec", "box", "sh", "-c", "ls /; cat /proc/1/comm; touch /x 2>&1", check=False)
    assert {"proc", "etc", "sleep"} <= set(shown.stdout.split())
    assert ("Read-only" in shown.stdout) == readonly
    oci("delete", "--force", "box")
    assert host_mounts() == before
    assert (bundle / "rootfs/bin").exists()


def test_one_that_could_not_be_made_leaves_no_mount_either(oci):
    before = host_mounts()
    config = without_own_mounts(oci.sh("true"))
    config["process"]["args"] = ["/nothing"]
    assert "no such file" in oci.refused(config)
    assert host_mounts() == before


def test_a_mount_namespace_is_joined_by_its_file(oci):
    before = host_mounts()
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", "echo; exec sleep 1000"], stdout=-1
    ) as other:
        try:
            other.stdout.readline()
            own = f"/proc/{other.pid}/ns/mnt"
            shown = oci.output(without_own_mounts(oci.sh("ls /proc/self/ns/mnt -l; ls /"), own))
            assert os.readlink(own) in shown
            assert "etc" in shown.split()
        finally:
            other.kill()
    assert host_mounts() == before
