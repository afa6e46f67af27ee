"""Containers' roots made by each storage driver: the same files, changes, and nothing left."""

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cgagent.errors import InvalidInputError, NoSpaceError, UnsupportedError
from cgagent.images.drivers.choice import choose
from tests.world.agent import Agent
from tests.world.disks import NoFileSystemError, mounted
from tests.world.images import busybox_docker_archive

pytestmark = pytest.mark.system

FIND = "find / -xdev -mindepth 1 ! -path '/proc*' ! -path '/dev*' ! -path '/sys*' ! -path '/etc*' "
LISTING = (
    f"({FIND} -type d -exec stat -c '%n %f %u %g %Y' {{}} +; "
    f"{FIND} ! -type d -exec stat -c '%n %f %u %g %h %Y' {{}} +) | sort"
)


@pytest.fixture
def folder_of(data_root):
    with ExitStack() as stack:

        def made(driver):
            if driver != "btrfs":
                return data_root
            return stack.enter_context(mounted(data_root, "btrfs"))

        yield made


@pytest.fixture(scope="module")
def overlays_files(state_root):
    with TemporaryDirectory(dir=state_root) as folder, Agent(Path(folder)) as agent:
        agent.load(busybox_docker_archive())
        return agent.run("sh", "-c", LISTING, image="busybox").stdout


@pytest.mark.native
@pytest.mark.parametrize("driver", ["vfs", "btrfs"])
def test_a_root_without_an_overlay(driver, folder_of, overlays_files):
    with Agent(folder_of(driver), "--storage-driver", driver) as agent:
        agent.load(busybox_docker_archive())
        assert agent.client.request("GET", "/v1/info")["storage_driver"] == driver
        assert agent.run("sh", "-c", LISTING, image="busybox").stdout == overlays_files
        one = agent.launch("sh", "-c", "echo x >/new; rm /bin/ls; sleep 1000", image="busybox")
        other = agent.launch("sleep", "1000", image="busybox")
        assert agent.exec(other, "ls", "/new").exit_code == 1, "each has a root of its own"
        changes = agent.client.request("GET", f"/v1/containers/{one}/changes")
        assert {"kind": "A", "path": "/new"} in changes
        assert {"kind": "D", "path": "/bin/ls"} in changes
        assert not [c for c in changes if c["kind"] == "C" and c["path"] != "/bin"]
        agent.post(one, "kill")
        agent.wait(one)
        agent.post(one, "start")
        assert agent.exec(one, "cat", "/new").stdout == "x\n", "it has its files again"
        agent.remove_all()
        assert not os.listdir(agent.data_root / "containers-rw")
        agent.client.request("DELETE", "/v1/images/busybox")
        assert not os.listdir(agent.data_root / "overlay2"), "the image's tree goes with it"


@pytest.mark.native
def test_mapped_ids_without_an_overlay(data_root):
    with Agent(data_root, "--storage-driver", "vfs") as agent:
        agent.load(busybox_docker_archive())
        ran = agent.run("sh", "-c", "echo x >/new; stat -c %u /new", image="busybox", userns="auto")
        assert (ran.exit_code, ran.stdout) == (0, "0\n"), ran.stderr


def test_what_a_container_writes_is_limited_by_a_quota(data_root):
    features = ("-O", "quota,project", "-E", "quotatype=prjquota")
    with ExitStack() as stack:
        try:
            wanted = mounted(data_root, "ext4", make=features, options="prjquota")
            disk = stack.enter_context(wanted)
        except NoFileSystemError as e:
            pytest.skip(f"this kernel has no project quotas: {e}")
        with Agent(disk) as agent:
            agent.load(busybox_docker_archive())
            assert "project quotas" in agent.client.request("GET", "/v1/info")["storage_limits"]
            write = "dd if=/dev/zero of=/big bs=1M count=%d"
            small = agent.create("sh", "-c", write % 20, image="busybox", root_limit_bytes=10 << 20)
            agent.post(small, "start")
            assert agent.wait(small) == 1
            assert "quota exceeded" in agent.log_text(small).lower()
            size = agent.client.request("GET", f"/v1/containers/{small}?size=true")
            assert 9 << 20 < size["size_rw_bytes"] <= 10 << 20
            free = agent.create("sh", "-c", write % 20, image="busybox")
            agent.post(free, "start")
            assert agent.wait(free) == 0


@pytest.mark.native
def test_a_limit_where_there_is_no_quota_is_refused_and_leaves_nothing(data_root):
    with Agent(data_root) as agent:
        agent.load(busybox_docker_archive())
        if "no project quotas" not in agent.client.request("GET", "/v1/info")["storage_limits"]:
            pytest.skip("the file system of the tests has project quotas")
        with pytest.raises(UnsupportedError, match="prjquota"):
            agent.create("true", image="busybox", root_limit_bytes=10 << 20)
        assert not agent.containers()
        assert agent.run("true", image="busybox").exit_code == 0


@pytest.mark.native
def test_the_disk_is_full_while_a_root_is_copied(data_root):
    with (
        mounted(data_root, "ext4", size="24M") as disk,
        Agent(disk, "--storage-driver", "vfs") as agent,
    ):
        agent.load(busybox_docker_archive())
        (disk / "ballast").write_bytes(
            bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - (1 << 20))
        )
        with pytest.raises(NoSpaceError):
            agent.create("true", image="busybox")
        assert not os.listdir(agent.data_root / "containers-rw")
        (disk / "ballast").unlink()
        assert agent.run("true", image="busybox").exit_code == 0


@pytest.mark.native
def test_the_first_driver_that_works_is_chosen(data_root):
    assert choose(data_root / "a", "").driver.name == "overlay2"
    with pytest.raises(InvalidInputError, match="aufs"):
        choose(data_root / "b", "aufs")
    with pytest.raises(UnsupportedError, match="not on btrfs"):
        choose(data_root / "c", "btrfs")
