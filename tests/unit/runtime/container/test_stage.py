from dataclasses import replace

import pytest

from cgagent.runtime import spec
from cgagent.runtime.container.mounts import Mount
from cgagent.runtime.container.stage import Stage
from cgagent.runtime.spec import CgroupMount, KernelFiles, MountPoint, Plan, Process

CGROUPS = (
    CgroupMount(name="cpu", version=1, controllers="cpu"),
    CgroupMount(name="unified", version=2),
)
PLAIN = Plan(
    process=Process(args=("true",)),
    cgroup_path="/x",
    kernel_files=KernelFiles(cgroups=CGROUPS),
)
TOPS = ("/proc", "/dev", "/sys")


@pytest.fixture
def stage():
    config = spec.kernel_part(CGROUPS)
    tops = tuple((Mount.from_oci(m), -1) for m in config["mounts"] if m["destination"] in TOPS)
    assert len(tops) == len(TOPS)
    return Stage(config, tops, -1)


def tmpfs(destination):
    return MountPoint(destination=destination, type="tmpfs", source="tmpfs")


@pytest.mark.parametrize(
    "plan",
    [
        PLAIN,
        replace(PLAIN, mounts=(tmpfs("/data"), tmpfs("/device"))),
        replace(PLAIN, read_only_root=True, hostname="x", sysctl={"net.ipv4.ip_forward": "1"}),
    ],
)
def test_an_ordinary_container_begins_with_it(stage, plan):
    assert stage.fits(spec.build(plan))


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAIN, kernel_files=KernelFiles(cgroups=CGROUPS[:1])),
        replace(PLAIN, kernel_files=KernelFiles(cgroups=CGROUPS, writable=True)),
        replace(PLAIN, kernel_files=KernelFiles(cgroups=CGROUPS, shm_size_bytes=4096)),
        replace(PLAIN, hides_kernel_files=False),
        replace(PLAIN, mounts=(tmpfs("/dev/shm"),)),
        replace(PLAIN, mounts=(tmpfs("/dev/x"),)),
        replace(PLAIN, mounts=(tmpfs("/a/../proc/driver"),)),
        replace(PLAIN, mounts=(tmpfs("//sys"),)),
    ],
)
def test_another_container_has_its_own(stage, plan):
    assert not stage.fits(spec.build(plan))


def test_a_configuration_without_mounts(stage):
    assert not stage.fits({})
