"""Hosts as recorded: mountinfo, own groups and controllers of real machines."""

import pytest

from cgagent.cgroups import Host, Placement
from cgagent.errors import InvalidInputError, UnsupportedError

V2 = {
    "proc/self/mountinfo": (
        "24 1 0:22 / /sys rw - sysfs sysfs rw\n"
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    ),
    "proc/self/cgroup": "0::/user.slice/session-1.scope\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
}

# systemd's hybrid: joint mounts, a named hierarchy, a cgroup2 without controllers.
HYBRID = {
    "proc/self/mountinfo": (
        "43 22 0:32 / /sys/fs/cgroup rw shared:13 - tmpfs cgroup rw,mode=755\n"
        "44 43 0:33 / /sys/fs/cgroup/cpu,cpuacct rw shared:14 - cgroup cgroup rw,cpu,cpuacct\n"
        "46 43 0:35 / /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory\n"
        "49 43 0:38 / /sys/fs/cgroup/blkio rw shared:19 - cgroup cgroup rw,blkio\n"
        "56 43 0:45 / /sys/fs/cgroup/systemd rw shared:26 - cgroup cgroup rw,xattr,name=systemd\n"
        "57 43 0:46 / /sys/fs/cgroup/unified rw shared:27 - cgroup2 cgroup2 rw,nsdelegate\n"
    ),
    "proc/self/cgroup": (
        "13:name=systemd:/init.scope\n6:blkio:/\n3:memory:/own/we:ird\n1:cpu,cpuacct:/\n0::/init\n"
    ),
    "sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n",
}

# Inside a docker container without a cgroup namespace: mounts show a subtree as their root.
NESTED_V1 = {
    "proc/self/mountinfo": (
        "700 690 0:26 /docker/0123 /sys/fs/cgroup/memory ro master:10 - cgroup cgroup rw,memory\n"
        "701 690 0:27 /docker/0123 /sys/fs/cgroup/pids ro master:11 - cgroup cgroup rw,pids\n"
        "702 690 0:27 / /host\\040tree/pids rw - cgroup cgroup rw,pids\n"
    ),
    "proc/self/cgroup": "5:memory:/docker/0123\n4:pids:/docker/0123/inner\n",
}


# In a container of a cgroup2 host without a cgroup namespace: a subtree is all there is to see.
NESTED_V2 = {
    "proc/self/mountinfo": (
        "700 690 0:26 /machine/c1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
    ),
    "proc/self/cgroup": "0::/machine/c1/init.scope\n",
    "sys/fs/cgroup/cgroup.controllers": "memory pids\n",
}

# In a cgroup namespace, moved out of its root by somebody outside: the paths climb.
OUTSIDE = {
    "proc/self/mountinfo": (
        "700 690 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        "701 690 0:26 /.. /host rw - cgroup2 cgroup2 rw\n"
        "702 690 0:31 /../.. /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n"
    ),
    "proc/self/cgroup": "3:pids:/..\n0::/../other\n",
    "sys/fs/cgroup/cgroup.controllers": "memory\n",
}

# v1 controllers mounted together under a name of the administrator's, a hierarchy without any
# and one controller twice.
ODD_V1 = {
    "proc/self/mountinfo": (
        "44 43 0:33 / /cg/all rw - cgroup all rw,cpu,cpuacct,memory,pids,freezer\n"
        "45 43 0:34 / /cg/mine rw - cgroup none rw,name=mine,release_agent=/bin/x\n"
        "46 43 0:33 / /sys/fs/cgroup/again rw - cgroup all rw,cpu,cpuacct,memory,pids,freezer\n"
    ),
    "proc/self/cgroup": "9:name=mine:/m\n8:cpu,cpuacct,memory,pids,freezer:/own\n",
}


@pytest.fixture
def detect(tmp_path):
    def detect(tree):
        for name, text in tree.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Host.detect(str(tmp_path))

    return detect


def test_v2(detect, tmp_path):
    host = detect(V2)
    mount = f"{tmp_path}/sys/fs/cgroup"
    own = "/user.slice/session-1.scope"
    assert host.layout == "v2"
    assert host.unified == Placement("", 2, mount, own)
    assert host.placements["io"] == Placement("io", 2, mount, own)
    assert set(host.placements) >= {"cpu", "cpuset", "memory", "pids", "hugetlb"}
    assert host.v1_mounts == ()
    group = host.group("/a/b")
    assert group.unified_dir() == f"{mount}/a/b"


def test_hybrid_is_decided_by_controller(detect, tmp_path):
    host = detect(HYBRID)
    mounts = f"{tmp_path}/sys/fs/cgroup"
    assert host.layout == "hybrid"
    assert host.placements["cpu"].mount == host.placements["cpuacct"].mount
    assert host.placements["memory"] == Placement("memory", 1, f"{mounts}/memory", "/own/we:ird")
    assert host.placements["io"] == Placement("io", 1, f"{mounts}/blkio", "/")
    assert host.placements["hugetlb"] == Placement("hugetlb", 2, f"{mounts}/unified", "/init")
    assert not any("systemd" in name for name in host.placements)
    assert host.v1_mounts == tuple(
        f"{mounts}/{name}" for name in ("cpu,cpuacct", "memory", "blkio")
    )
    assert host.v2_controllers == {"hugetlb"}


def test_a_group_is_named_from_the_root_that_the_mount_shows(detect, tmp_path):
    host = detect(NESTED_V1)
    assert host.layout == "v1"
    assert host.unified is None
    assert host.placements["memory"].own_path == "/"
    # The host's own mount of the same hierarchy shows all of it.
    assert host.placements["pids"].mount == f"{tmp_path}/host tree/pids"
    assert host.placements["pids"].own_path == "/docker/0123/inner"
    assert host.group("/x").unified_dir() is None


def test_a_subtree_mounted_as_the_root(detect, tmp_path):
    host = detect(NESTED_V2)
    assert host.unified == Placement("", 2, f"{tmp_path}/sys/fs/cgroup", "/init.scope")
    assert host.placements["memory"].own_path == "/init.scope"
    assert host.group("/x").unified_dir() == f"{tmp_path}/sys/fs/cgroup/x"


def test_our_own_group_outside_the_namespace_is_not_named(detect, tmp_path):
    host = detect(OUTSIDE)
    assert host.unified == Placement("", 2, f"{tmp_path}/sys/fs/cgroup", "/")
    assert host.placements["pids"] == Placement("pids", 1, f"{tmp_path}/sys/fs/cgroup/pids", "/")


def test_controllers_mounted_together_are_one_directory(detect, tmp_path):
    host = detect(ODD_V1)
    mount = f"{tmp_path}/sys/fs/cgroup/again"
    assert host.v1_mounts == (mount,)
    assert {p.mount for p in host.placements.values()} == {mount}
    assert {p.own_path for p in host.placements.values()} == {"/own"}
    assert "mine" not in str(host.placements)


def test_a_threaded_group_is_refused(detect, tmp_path):
    host = detect(V2)
    mount = tmp_path / "sys/fs/cgroup"
    (mount / "cgroup.subtree_control").write_text("")
    (mount / "threads").mkdir()
    (mount / "threads" / "cgroup.type").write_text("threaded\n")
    with pytest.raises(UnsupportedError, match=r"it is 'threaded': .* is of single threads"):
        host.group("/threads").create()
    assert (mount / "threads").exists()


def test_no_cgroups_at_all(detect):
    with pytest.raises(UnsupportedError, match="mount cgroup2"):
        detect({"proc/self/mountinfo": "24 1 0:22 / /sys rw - sysfs sysfs rw\n"})


@pytest.mark.parametrize(
    "path",
    ["", "a", "/a/", "//", "/a//b", "/..", "/a/../b", "/./a", "/a\nb", "/a\0b", "/" + "x" * 256],
)
def test_paths_that_lead_elsewhere_are_refused(detect, path):
    with pytest.raises(InvalidInputError, match="cgroup path"):
        detect(V2).group(path)


def test_groups_are_values(detect):
    host = detect(V2)
    assert host.group("/a") == host.group("/a")
    assert len({host.group("/a"), host.group("/a"), host.group("/b"), host.group("/")}) == 3
