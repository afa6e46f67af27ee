"""Filters under `cgagent oci` that allow nothing but exec and what the command itself needs."""

import os

import pytest

from tests.world import tiny

pytestmark = [
    pytest.mark.system,
    pytest.mark.native,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is for x86-64"),
]

FIRST = 100_000
MAPPINGS = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
DENIED = ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]
USERS = [0, 1000]


def filtered(oci, action, *, uid=0, no_new_privileges=False, **fields):
    config = oci.config("/tiny")
    config["process"].update(user={"uid": uid, "gid": uid}, noNewPrivileges=no_new_privileges)
    config["process"].update(fields)
    config["linux"]["seccomp"] = tiny.profile(action)
    return config


def bundle_with_tiny(oci, config, *, wait=False):
    bundle = oci.bundle(config)
    tiny.write(bundle / "rootfs/tiny", "seen\n", wait=wait)
    return bundle


@pytest.mark.parametrize("action", DENIED)
@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("uid", USERS)
def test_a_command_runs_under_a_filter_that_allows_what_it_needs(
    oci, action, no_new_privileges, uid
):
    config = filtered(oci, action, uid=uid, no_new_privileges=no_new_privileges)
    done = oci("run", "-b", str(bundle_with_tiny(oci, config)), "box")
    assert done.stdout == "seen\n"


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_the_same_in_a_user_namespace(oci, no_new_privileges):
    config = filtered(oci, "SCMP_ACT_KILL_PROCESS", no_new_privileges=no_new_privileges)
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=list(MAPPINGS), gidMappings=list(MAPPINGS))
    bundle = bundle_with_tiny(oci, config)
    for folder, _, names in os.walk(bundle / "rootfs"):
        for name in (".", *names):
            os.chown(os.path.join(folder, name), FIRST, FIRST, follow_symlinks=False)
    assert oci("run", "-b", str(bundle), "box").stdout == "seen\n"


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("uid", USERS)
def test_a_command_is_executed_in_a_container_with_such_a_filter(oci, no_new_privileges, uid):
    config = filtered(oci, "SCMP_ACT_KILL_PROCESS", uid=uid, no_new_privileges=no_new_privileges)
    oci("run", "-d", "-b", str(bundle_with_tiny(oci, config, wait=True)), "box")
    tiny.write(oci.folder / "bundle1/rootfs/other", "too\n")
    assert oci("exec", "box", "/other").stdout == "too\n"


def test_a_command_that_is_not_there_is_told_whatever_the_filter_denies(oci):
    config = filtered(oci, "SCMP_ACT_KILL_PROCESS", args=["/nothing"])
    assert "'/nothing': no such file" in oci.refused(config)


def test_capabilities_are_the_same_with_a_filter_of_ones_own(oci):
    config = oci.sh("grep ^Cap /proc/self/status")
    for uid in USERS:
        config["process"]["user"] = {"uid": uid, "gid": uid}
        config["linux"].pop("seccomp", None)
        without = oci.output(config)
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        assert oci.output(config) == without
