"""Limits: what the kernel's own files hold, and that they bite."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cgagent.cgroups import Host
from cgagent.client.http import Client
from cgagent.errors import ConflictError, InvalidInputError
from tests.world.agent import SLOWNESS, eventually, group_file, has_v1

pytestmark = pytest.mark.system

MIB = 1 << 20


def read(agent, container, controller, v1, v2):
    return agent.cgroup_file(container, controller, v1=v1, v2=v2).read_text().strip()


def test_each_limit_is_in_its_file(agent, container):
    limits = {
        "memory_max_bytes": 64 * MIB,
        "memory_low_bytes": 16 * MIB,
        "cpus": 0.5,
        "cpu_shares": 512,
        "cpuset_cpus": "0",
        "pids_max": 20,
    }
    one = container("sleep", "1000", limits=limits)
    assert read(agent, one, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    soft = read(agent, one, "memory", "memory.soft_limit_in_bytes", "memory.low")
    assert soft == str(16 * MIB)
    if has_v1("cpu"):
        assert read(agent, one, "cpu", "cpu.cfs_quota_us", "") == "50000"
        assert read(agent, one, "cpu", "cpu.cfs_period_us", "") == "100000"
        assert read(agent, one, "cpu", "cpu.shares", "") == "512"
    else:
        assert read(agent, one, "cpu", "", "cpu.max") == "50000 100000"
        assert read(agent, one, "cpu", "", "cpu.weight") in {"20", "59"}  # by which conversion
    assert read(agent, one, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert read(agent, one, "pids", "pids.max", "pids.max") == "20"


def test_io_limits_are_in_the_kernels_file(agent, container):
    device = agent.data_root.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    if not Path(f"/sys/dev/block/{number}").exists():
        pytest.skip("the data root is on no block device")
    if "io" not in Host.detect().placements:
        pytest.skip("no io controller")
    io_max = {"major": os.major(device), "minor": os.minor(device), "wbps": 4 * MIB}
    one = container("sleep", "1000", limits={"io_max": [io_max]})
    held = read(agent, one, "io", "blkio.throttle.write_bps_device", "io.max")
    if has_v1("io"):
        assert held == f"{number} {4 * MIB}"
    else:
        assert held == f"{number} rbps=max wbps={4 * MIB} riops=max wiops=max"


def test_a_limited_disk_write_takes_its_time(agent, container):
    device = agent.data_root.stat().st_dev
    if not Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").exists():
        pytest.skip("the data root is on no block device")
    io_max = {"major": os.major(device), "minor": os.minor(device), "wbps": 2 * MIB}
    one = container(
        *("dd", "if=/dev/zero", "of=/file", "bs=1M", "count=6", "oflag=direct"),
        limits={"io_max": [io_max]},
    )
    assert agent.wait(one) == 0
    state = agent.state(one)
    assert (state["finished_ns"] - state["started_ns"]) / 1e9 > 2


def test_a_container_that_may_hardly_write_can_be_removed(agent, container):
    """Its overlay syncs the disk when its last process ends, within its caps."""
    device = agent.data_root.stat().st_dev
    if not Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").exists():
        pytest.skip("the data root is on no block device")
    io_max = {"major": os.major(device), "minor": os.minor(device), "wiops": 2}
    one = container("sleep", "1000", limits={"io_max": [io_max]})
    agent.remove(one)


def test_the_21st_task_is_refused(agent, container):
    # the shell is the first task; 19 more fit
    script = "i=0; while sleep 1000 & do i=$((i+1)); echo $i; [ $i -lt 30 ] || break; done"
    one = container("sh", "-c", script, limits={"pids_max": 20})
    agent.wait(one)
    entries = agent.logs(one)
    assert [e["log"] for e in entries if e["stream"] == "stdout"][-1] == "19\n"
    assert any("fork" in e["log"] for e in entries if e["stream"] == "stderr")


def cpu_ns(agent, container):
    """From the kernel's file."""
    file = agent.cgroup_file(container, "cpuacct", v1="cpuacct.usage", v2="cpu.stat")
    if file.name == "cpuacct.usage":
        return int(file.read_text())
    return 1000 * int(dict(line.split() for line in file.read_text().splitlines())["usage_usec"])


@pytest.fixture
def before_others(agent):
    """Our containers come before other work on the machine, which would take what they may use."""
    file = group_file(agent.cgroup_parent, "cpu", "cpu.shares", "cpu.weight")
    usual = file.read_text()
    file.write_text("262144" if file.name == "cpu.shares" else "10000")
    yield
    file.write_text(usual)


@pytest.mark.usefixtures("before_others")
def test_half_a_cpu_is_half_a_cpu(agent, container):
    one = container("sh", "-c", "while :; do :; done", limits={"cpus": 0.5})

    def share():
        seconds = 5.0
        begin, used = time.monotonic(), cpu_ns(agent, one)
        time.sleep(seconds)
        return (cpu_ns(agent, one) - used) / 1e9 / (time.monotonic() - begin)

    time.sleep(1)
    # Once more where others took the CPUs meanwhile: then it gets less, and never more.
    found = []
    while len(found) < 3 and not any(0.47 <= s <= 0.53 for s in found):
        found.append(share())
    assert any(0.47 <= s <= 0.53 for s in found), found
    assert all(s <= 0.53 for s in found), found


def test_update_changes_a_running_container_at_once(agent, container):
    one = container("sleep", "1000", limits={"memory_max_bytes": 64 * MIB})
    done = agent.cli("update", "--memory", "96m", "--memory-swap", "192m", "--cpus", "0.25", one)
    assert (done.returncode, done.stdout) == (0, f"{one}\n")
    assert read(agent, one, "memory", "memory.limit_in_bytes", "memory.max") == str(96 * MIB)
    if has_v1("cpu"):
        assert read(agent, one, "cpu", "cpu.cfs_quota_us", "") == "25000"
    else:
        assert read(agent, one, "cpu", "", "cpu.max") == "25000 100000"
    assert agent.detail(one)["limits_held"]["memory_max_bytes"] == 96 * MIB


def test_update_of_memory_alone_raises_and_lowers(agent, container):
    one = container("sleep", "1000", limits={"memory_max_bytes": 64 * MIB})
    for size in (512 * MIB, 32 * MIB, 64 * MIB):
        agent.post(one, "update", {"memory_max_bytes": size})
        assert read(agent, one, "memory", "memory.limit_in_bytes", "memory.max") == str(size)


def test_an_update_stays_over_a_restart(agent, container):
    one = container("sleep", "1000")
    agent.post(one, "update", {"pids_max": 33})
    agent.post(one, "restart?timeout_s=0")
    assert read(agent, one, "pids", "pids.max", "pids.max") == "33"


def test_a_refused_update_changes_nothing(agent, container):
    one = container("sleep", "1000", limits={"memory_max_bytes": 64 * MIB, "pids_max": 20})
    before = agent.detail(one)["limits_held"]
    with pytest.raises(InvalidInputError):
        agent.post(one, "update", {"pids_max": 30, "cpuset_cpus": "4000"})
    assert agent.detail(one)["limits_held"] == before
    assert agent.detail(one)["limits"]["pids_max"] == 20


def test_frozen_means_no_cpu_time_at_all(agent, container):
    one = container("sh", "-c", "while :; do :; done")
    assert agent.cli("freeze", one).returncode == 0
    before = cpu_ns(agent, one)
    time.sleep(1)
    assert cpu_ns(agent, one) == before
    assert agent.state(one)["status"] == "frozen"
    assert "(Frozen)" in agent.cli("ps").stdout
    with pytest.raises(ConflictError, match="frozen already"):
        agent.post(one, "freeze")
    assert agent.cli("thaw", one).returncode == 0
    eventually(lambda: cpu_ns(agent, one) > before)
    assert agent.state(one)["status"] == "running"
    with pytest.raises(ConflictError, match="not frozen"):
        agent.post(one, "thaw")


def test_pause_and_unpause_are_other_names(agent, container):
    one = container("sleep", "1000")
    assert agent.cli("pause", one).returncode == 0
    state = agent.cli("inspect", "-f", "{{.State.Status}} {{.State.Paused}}", one).stdout
    assert state == "paused true\n"
    assert agent.cli("unpause", one).returncode == 0
    assert agent.state(one)["status"] == "running"


REFUSED = [
    ({"cpuset_cpus": "4000"}, "cpuset_cpus"),
    ({"cpuset_cpus": "0-99999999999"}, "cpuset_cpus"),
    ({"cpu_quota_us": 500}, "cpu_quota_us"),
    ({"pids_max": 99_999_999_999}, "pids_max"),
]


@pytest.mark.parametrize(("limits", "named"), REFUSED)
@pytest.mark.parametrize("binds", [[], ["/usr:/x:ro"]])
def test_what_the_kernel_refuses_is_refused_when_a_container_is_made(
    agent, nothing_made, limits, named, binds
):
    with pytest.raises(InvalidInputError, match=f"limit {named}: .* refuses"):
        agent.create("true", limits=limits, binds=binds)
    eventually(agent.cgroups_settled)


@pytest.mark.parametrize(("limits", "named"), REFUSED)
def test_what_the_kernel_refuses_is_refused_to_one_that_does_not_run(
    agent, container, limits, named
):
    one = container("true", start=False, limits={"pids_max": 50})
    with pytest.raises(InvalidInputError, match=f"limit {named}: .* refuses"):
        agent.post(one, "update", limits)
    assert agent.detail(one)["limits"] == {"pids_max": 50}
    agent.post(one, "start")
    assert agent.wait(one) == 0


def test_a_kill_amid_a_freeze_ends_both(agent, container):
    for _ in range(10):
        one = container("sh", "-c", "while :; do (true); done")
        with closing(Client(str(agent.socket))) as client, ThreadPoolExecutor(1) as pool:
            freezing = pool.submit(client.request, "POST", freeze_path(one))
            agent.post(one, "kill")
            with suppress(ConflictError):
                freezing.result(60 * SLOWNESS)
        assert agent.wait(one) == 137


def freeze_path(container):
    """With a time-out that a test does not wait for."""
    return f"/v1/containers/{container}/freeze?timeout_s=600"


def test_a_frozen_container_can_be_stopped_and_removed(agent, container):
    for end in (lambda c: agent.post(c, "stop?timeout_s=1"), agent.remove):
        one = container("sleep", "1000")
        agent.post(one, "freeze")
        begin = time.monotonic()
        end(one)
        assert time.monotonic() - begin < 8 * SLOWNESS


def test_swap_stays_with_memory_unless_told(agent, container):
    one = container(
        "sleep", "1000", limits={"memory_max_bytes": 32 * MIB, "memory_swap_bytes": 32 * MIB}
    )
    file = agent.cgroup_file(one, "memory", v1="memory.memsw.limit_in_bytes", v2="memory.swap.max")
    if not file.exists():
        pytest.skip("the kernel does not account swap")
    assert int(file.read_text()) == (32 * MIB if has_v1("memory") else 0)


@pytest.mark.native
def test_zero_is_a_limit_that_is_not_asked_for(agent):
    """As docker's API has it: its clients send all fields."""
    zeros = {"memory_max_bytes": 0, "cpus": 0, "cpu_shares": 0, "blkio_weight": 0, "pids_max": 0}
    one = agent.launch("sleep", "1000", limits={**zeros, "memory_swappiness": -1})
    assert agent.detail(one)["limits"] == {"pids_max": "max"}
    agent.post(one, "update", {**zeros, "cpu_quota_us": -1})
    assert agent.detail(one)["limits"] == {"pids_max": "max", "cpu_quota_us": "max"}
    agent.remove(one)
