"""A group of its own for each test, on whatever cgroup layout the live kernel has."""

import ctypes
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from cgagent.cgroups import Host
from tests.world import disks, guest
from tests.world.naming import cgroup_path

SLOWNESS = float(os.environ.get("CGAGENT_TEST_SLOWNESS", "1"))


@pytest.fixture(scope="session")
def host():
    return Host.detect()


@pytest.fixture
def parent(host):
    """A group path that is not made yet; whatever is made there is removed afterwards."""
    group = host.group(cgroup_path())
    yield group
    if group.exists():
        group.kill(10 * SLOWNESS)
        group.remove(10 * SLOWNESS)


@pytest.fixture
def group(host, parent):
    group = host.group(f"{parent.path}/leaf")
    group.create()
    return group


@contextmanager
def running(group, script):
    """A shell that waits for a line on stdin inside the group and then runs `script`."""
    process = subprocess.Popen(
        ["sh", "-c", f"read go; {script}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        group.join(process.pid)
        yield process
    finally:
        if group.exists():
            group.kill(10 * SLOWNESS)
        process.kill()
        process.communicate()


def run(group, script):
    """The output and exit status of a shell script run inside the group."""
    with running(group, script) as process:
        output, _ = process.communicate(b"\n", timeout=60 * SLOWNESS)
        return output.decode(), process.returncode


@contextmanager
def holding(group, mib):
    """A process in the group that holds so much anonymous memory."""
    code = f"x = b'x' * ({mib} << 20); print(1, flush=True); input()"
    with running(group, f'exec python3 -S -E -c "{code}"') as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        yield process


@contextmanager
def hanging_file_system(directory):
    """A mount whose every access waits, in uninterruptible (killable) sleep, for a daemon."""
    libc = ctypes.CDLL(None, use_errno=True)
    subprocess.run(["modprobe", "fuse"], check=False, capture_output=True)
    with open("/dev/fuse", "r+b", buffering=0) as device:
        options = f"fd={device.fileno()},rootmode=40000,user_id=0,group_id=0"
        where = os.fsencode(directory)
        if libc.mount(b"cgagent-test", where, b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount")
        try:
            yield
        finally:
            libc.umount2(where, 2)  # MNT_DETACH


def loop_device(mib=64):
    return disks.loop_device(disk_directory() + cgroup_path(), mib)


@contextmanager
def scheduled(device, scheduler):
    """A block device under another IO scheduler for a while."""
    subprocess.run(["modprobe", scheduler], check=False, capture_output=True)
    before = device.scheduler.read_text()
    if scheduler not in before:
        pytest.skip(f"this kernel has no {scheduler}")
    device.scheduler.write_text(scheduler)
    try:
        yield
    finally:
        device.scheduler.write_text(before.partition("[")[2].partition("]")[0])


@contextmanager
def rdma_device():
    """An RDMA device in software, on loopback."""
    name = cgroup_path().strip("/").replace("cgagent-test-", "cgt")[:15]
    loaded = subprocess.run(["modprobe", "rdma_rxe"], check=False, capture_output=True)
    if loaded.returncode:
        pytest.skip("this kernel has no rdma_rxe")
    add = ["rdma", "link", "add", name, "type", "rxe", "netdev", "lo"]
    subprocess.run(add, check=True, capture_output=True)
    try:
        yield name
    finally:
        subprocess.run(["rdma", "link", "delete", name], check=True)


def file_of(group, controller, v1, v2):
    """The path of a raw file, by where this host has the controller."""
    place = group.host.placements.get(controller)
    if place and place.version == 1:
        return Path(f"{place.mount}{group.path}/{v1}") if v1 else None
    return Path(f"{group.unified_dir()}/{v2}") if v2 else None


def is_v1(host, controller):
    place = host.placements.get(controller)
    return place is not None and place.version == 1


def disk():
    """(MAJOR, MINOR) of a disk of this machine."""
    for name in ("vda", "sda", "nvme0n1"):
        path = Path(f"/sys/block/{name}/dev")
        if path.exists():
            return tuple(map(int, path.read_text().split(":")))
    pytest.skip("no disk")
    return None


def disk_directory():
    """A directory on a real disk."""
    for path in ("/var/tmp", guest.STATE_FOLDER):
        if os.path.isdir(path):
            device = os.stat(path).st_dev
            if os.path.exists(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"):
                return path
    pytest.skip("no directory on a disk")
    return None


@pytest.fixture
def fs():
    """The helpers of this file, for tests (which import nothing from each other)."""
    import sys

    return sys.modules[__name__]
