import json
from pathlib import Path

import pytest

from cgagent.runtime import spec
from cgagent.runtime.container.mounts import Mount
from cgagent.runtime.seccomp import default as seccomp
from cgagent.runtime.spec import (
    CgroupMount,
    DeviceNode,
    KernelFiles,
    MountPoint,
    Namespace,
    Plan,
    Privileges,
    Process,
    Rlimit,
)

DEFAULT = Path(__file__).parent / "configs" / "default.json"
MIXED = (
    CgroupMount(name="memory", version=1, controllers="memory"),
    CgroupMount(name="unified", version=2),
)


def plan(**changes):
    process = Process(args=("sh",), env=("A=1",), cwd="/w", user="app")
    return Plan(**{"process": process, "hostname": "box", "cgroup_path": "/cgagent/x", **changes})


def mounts_of(built):
    return {m["destination"]: m for m in built["mounts"]}


def bind(source, destination, *options):
    return MountPoint(destination=destination, type="bind", source=source, options=options)


def test_a_container_of_which_nothing_is_asked():
    """What an ordinary container gets is not changed by accident: every word of it is here."""
    hosts = bind("/box/hosts", "/etc/hosts", "rbind", "rprivate")
    built = spec.build(plan(kernel_files=KernelFiles(cgroups=MIXED), mounts=(hosts,)))
    assert built["linux"].pop("seccomp") == seccomp.default_profile(spec.defaults.CAPABILITIES)
    assert built == json.loads(DEFAULT.read_text())


def test_a_host_network_shares_namespace_and_sysfs():
    shared = tuple(n for n in spec.OWN_NAMESPACES if n.type != "network")
    own = spec.build(plan())
    host = spec.build(plan(namespaces=shared, kernel_files=KernelFiles(own_network=False)))
    kinds = [{n["type"] for n in b["linux"]["namespaces"]} for b in (own, host)]
    assert kinds[0] - kinds[1] == {"network"}
    assert mounts_of(own)["/sys"]["type"] == "sysfs"
    assert mounts_of(host)["/sys"]["options"][0] == "bind"
    assert all("ro" in mounts_of(b)["/sys"]["options"] for b in (own, host))


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("cgroups", [(CgroupMount(name="", version=2),), MIXED[:1], MIXED])
def test_cgroups_are_read_only_unless_it_is_privileged(cgroups, writable):
    built = spec.build(plan(kernel_files=KernelFiles(cgroups=cgroups, writable=writable)))
    found = [
        m
        for point, m in mounts_of(built).items()
        if point.startswith("/sys") and m["type"] != "tmpfs"
    ]
    assert len(found) > 1
    for mount in found:
        assert {"nosuid", "nodev", "noexec", "rw" if writable else "ro"} <= set(mount["options"])
        assert ("ro" in mount["options"]) is not writable


def test_a_mount_below_another_comes_after_it():
    asked = (bind("/a", "/data/deep/er"), bind("/b", "/data", "rro"))
    cgroups = KernelFiles(cgroups=(CgroupMount(name="", version=2),))
    built = spec.build(plan(mounts=asked, kernel_files=cgroups))
    points = [m["destination"] for m in built["mounts"]]
    for index, point in enumerate(points):
        assert not any(later != point and point.startswith(later + "/") for later in points[index:])
    assert mounts_of(built)["/data"]["options"] == ["rro"]


def test_what_the_user_mounts_replaces_ours():
    asked = (bind("/mine", "/dev/shm"), bind("/sys/fs/cgroup", "/sys/fs/cgroup"))
    built = spec.build(plan(mounts=asked, kernel_files=KernelFiles(cgroups=MIXED)))
    points = [m["destination"] for m in built["mounts"]]
    assert points.count("/dev/shm") == 1
    assert mounts_of(built)["/dev/shm"]["source"] == "/mine"
    assert [p for p in points if p.startswith("/sys/fs/cgroup")] == ["/sys/fs/cgroup"]
    assert "/sys/fs/cgroup" not in built["linux"]["readonlyPaths"]


def test_every_mount_of_a_configuration_can_be_read_back():
    for entry in spec.build(plan(mounts=(bind("/a", "/b"),)))["mounts"]:
        assert entry["destination"] in Mount.from_oci(entry).describe()


def test_read_only_root():
    assert spec.build(plan(read_only_root=True))["root"] == {"path": "rootfs", "readonly": True}


def test_what_is_asked_is_in_the_process():
    privileges = Privileges(
        capabilities=("CAP_KILL",),
        no_new_privileges=True,
        apparmor_profile="tight",
        rlimits=(Rlimit("RLIMIT_NOFILE", 1, 2),),
        oom_score_adj=0,
        groups=("12", "audio"),
    )
    process = spec.build(plan(privileges=privileges))["process"]
    assert process["capabilities"]["bounding"] == ["CAP_KILL"]
    assert process["noNewPrivileges"] is True
    assert process["apparmorProfile"] == "tight"
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert process["oomScoreAdj"] == 0
    assert process["user"]["additionalGids"] == [12]
    assert process["user"]["additionalGroups"] == ["audio"]


def test_a_command_run_inside_has_what_the_container_has():
    privileges = Privileges(capabilities=("CAP_KILL",), no_new_privileges=True, groups=("12",))
    process = spec.build(plan(privileges=privileges))["process"]
    made = spec.exec_process(process, Process(args=("ls",), user="me"), privileged=False)
    assert (made["args"], made["cwd"], made["user"]["username"]) == (["ls"], "/", "me")
    assert made["user"]["additionalGids"] == [12]
    assert made["noNewPrivileges"] is True
    assert made["capabilities"] == process["capabilities"]
    mighty = spec.exec_process(process, Process(args=("ls",)), privileged=True)
    assert "CAP_SYS_ADMIN" in mighty["capabilities"]["effective"]
    assert process["args"] == ["sh"]


def test_what_is_asked_of_linux():
    node = DeviceNode(path="/dev/x", kind="c", major=1, minor=3, mode=0o600, uid=1, gid=2)
    built = spec.build(
        plan(
            devices=(node,),
            device_rules=({"allow": False, "access": "rwm"},),
            sysctl={"net.ipv4.ip_forward": "1"},
            seccomp=seccomp.UNCONFINED,
            hides_kernel_files=False,
            namespaces=(Namespace("pid", "/proc/7/ns/pid"), Namespace("mount")),
            mounts=(bind("/a", "/b", "rslave"),),
        )
    )["linux"]
    assert built["devices"] == [
        {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}
        | {"uid": 1, "gid": 2}
    ]
    assert built["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert built["sysctl"] == {"net.ipv4.ip_forward": "1"}
    assert "seccomp" not in built
    assert built["maskedPaths"] == built["readonlyPaths"] == []
    assert built["namespaces"] == [{"type": "pid", "path": "/proc/7/ns/pid"}, {"type": "mount"}]
    assert built["rootfsPropagation"] == "slave"


@pytest.mark.parametrize(
    ("files", "shm"),
    [
        (KernelFiles(shm_size_bytes=1 << 20), ("tmpfs", "size=1024k")),
        (KernelFiles(shm_size_bytes=5000), ("tmpfs", "size=5000")),
        (KernelFiles(shm_source="/dev/shm"), ("bind", "rbind")),
    ],
)
def test_shared_memory(files, shm):
    mount = mounts_of(spec.build(plan(kernel_files=files)))["/dev/shm"]
    assert mount["type"] == shm[0]
    assert shm[1] in mount["options"]
    assert "/dev/shm" not in mounts_of(spec.build(plan(kernel_files=KernelFiles(has_shm=False))))
