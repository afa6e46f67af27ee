from cgagent.runtime import spec
from cgagent.runtime.mounts import Mount
from cgagent.runtime.spec import CgroupMount, Plan, Process, Volume


def plan(**changes):
    process = Process(args=("sh",), env=("A=1",), cwd="/w", user="app")
    return Plan(process=process, hostname="box", cgroup_path="/cgagent/x", **changes)


def mounts_of(built):
    return {m["destination"]: m for m in built["mounts"]}


def test_the_process():
    process = spec.build(plan())["process"]
    assert (process["args"], process["env"], process["cwd"]) == (["sh"], ["A=1"], "/w")
    assert process["user"]["username"] == "app"
    assert len(process["capabilities"]["bounding"]) == 14
    assert "CAP_SYS_ADMIN" not in process["capabilities"]["bounding"]
    assert "ambient" not in process["capabilities"]
    assert "inheritable" not in process["capabilities"]


def test_a_host_network_shares_namespace_and_sysfs():
    own, host = spec.build(plan()), spec.build(plan(own_network=False))
    kinds = [{n["type"] for n in b["linux"]["namespaces"]} for b in (own, host)]
    assert kinds[0] - kinds[1] == {"network"}
    assert mounts_of(own)["/sys"]["type"] == "sysfs"
    assert mounts_of(host)["/sys"]["options"][0] == "bind"
    assert all("ro" in mounts_of(b)["/sys"]["options"] for b in (own, host))


def test_cgroups_are_read_only_in_every_layout():
    v1 = (CgroupMount(name="memory", version=1, controllers="memory"),)
    mixed = (*v1, CgroupMount(name="unified", version=2))
    for cgroups in ((CgroupMount(name="", version=2),), v1, mixed):
        for point, mount in mounts_of(spec.build(plan(cgroups=cgroups))).items():
            if point.startswith("/sys/fs/cgroup") and mount["type"] != "tmpfs":
                assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount["options"])
    assert "/sys/fs/cgroup" not in mounts_of(spec.build(plan()))
    assert mounts_of(spec.build(plan(cgroups=mixed)))["/sys/fs/cgroup/memory"]["options"][-1] == (
        "memory"
    )


def test_a_mount_below_another_comes_after_it():
    volumes = (
        Volume(source="/a", destination="/data/deep/er"),
        Volume(source="/b", destination="/data", read_only=True),
    )
    built = spec.build(plan(volumes=volumes, cgroups=(CgroupMount(name="", version=2),)))
    points = [m["destination"] for m in built["mounts"]]
    for index, point in enumerate(points):
        assert not any(later != point and point.startswith(later + "/") for later in points[index:])
    assert "rro" in mounts_of(built)["/data"]["options"]
    assert "rro" not in mounts_of(built)["/data/deep/er"]["options"]


def test_every_mount_of_a_configuration_can_be_read_back():
    for entry in spec.build(plan(volumes=(Volume(source="/a", destination="/b"),)))["mounts"]:
        assert entry["destination"] in Mount.from_oci(entry).describe()


def test_read_only_root():
    assert spec.build(plan(read_only_root=True))["root"] == {"path": "rootfs", "readonly": True}
    assert spec.build(plan())["root"]["readonly"] is False
