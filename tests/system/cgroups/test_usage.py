"""Accounting: each figure against work that is known."""

import os
from pathlib import Path

import pytest

from cgagent.cgroups import IoMax, Limits, Reader
from cgagent.errors import NotFoundError
from tests.world.agent import eventually

pytestmark = pytest.mark.system

MIB = 2**20


def python(code):
    return f"exec python3 -S -E -c '{code}'"


def test_cpu_time_of_a_throttled_loop(fs, group):
    group.apply(Limits(cpu_quota_us=20_000, cpu_period_us=100_000))
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    assert fs.run(group, python(burn)) == ("", 0)
    cpu = group.usage().cpu
    assert 0.3e9 <= cpu.usage_ns < 0.3e9 + 2e9 * fs.SLOWNESS
    assert 0 < cpu.user_ns <= cpu.usage_ns * 1.3
    assert cpu.user_ns + cpu.system_ns == pytest.approx(cpu.usage_ns, rel=0.01)
    assert cpu.periods >= 10
    assert 5 <= cpu.throttled_periods <= cpu.periods
    # 80 ms of each full period are spent throttled.
    assert 0.2e9 < cpu.throttled_ns < 20e9 * fs.SLOWNESS


def test_memory_of_a_known_size(fs, group):
    hold = 'x = b"x" * (64 << 20)\nprint(1, flush=True)\ninput()'
    with fs.running(group, python(hold)) as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        memory = group.usage().memory
        assert 64 * MIB <= memory.anon_bytes < 84 * MIB
        assert memory.anon_bytes <= memory.current_bytes < 140 * MIB
        assert memory.current_bytes <= memory.peak_bytes
        assert memory.working_set_bytes == memory.current_bytes - memory.inactive_file_bytes
        assert memory.pgfault > 1000
        assert memory.swap_bytes == 0
        assert memory.oom_kills == 0
        assert memory.failcnt == 0


def test_compressed_swap_is_counted(fs, group):
    switch = Path("/sys/module/zswap/parameters/enabled")
    if "CGAGENT_TEST_MODE" not in os.environ or not switch.exists():
        pytest.skip("zswap is switched on only in a guest whose kernel has it")
    if fs.is_v1(group.host, "memory"):
        pytest.skip("v1 does not count it")
    switch.write_text("Y")
    try:
        with fs.holding(group, 32):
            Path(f"{group.unified_dir()}/memory.high").write_text(str(16 * MIB))
            eventually(lambda: group.usage().memory.swap_bytes > 8 * MIB)
            memory = group.usage().memory
            assert 0 < memory.zswap_bytes < memory.swap_bytes
    finally:
        switch.write_text("N")


def test_an_oom_kill_is_counted(fs, parent, group):
    group.apply(Limits(memory_max_bytes=24 * MIB, memory_swap_max_bytes=0))
    _, status = fs.run(group, python('x = b"x" * (64 << 20)'))
    assert status == -9
    assert group.oom_kills() == 1
    assert group.usage().memory.oom_kills == 1
    assert parent.oom_kills() == 1
    assert parent.usage().memory.oom_kills == 1


def test_hitting_the_limit_is_counted(fs, group):
    group.apply(Limits(memory_max_bytes=24 * MIB))
    path = f"{fs.disk_directory()}/{group.path.replace('/', '-')}"
    output, status = fs.run(group, f"dd if=/dev/zero of={path} bs=1M count=48 2>&1; rm {path}")
    assert status == 0, output
    assert group.usage().memory.failcnt > 0
    assert group.oom_kills() == 0


def test_block_io_of_a_known_size(fs, group):
    path = f"{fs.disk_directory()}/{group.path.replace('/', '-')}"
    dd = f"dd if=/dev/zero of={path} bs=1M count=8 oflag=direct 2>&1"
    read = f"dd if={path} of=/dev/null bs=1M iflag=direct 2>&1; rm {path}"
    output, status = fs.run(group, f"{dd} && {read}")
    assert status == 0, output
    if fs.is_v1(group.host, "io") and not any(device.wbytes for device in group.usage().io):
        # Linux 6.1 counts on v1 only where there is a cap.
        major, minor = fs.disk()
        group.apply(Limits(io_max=(IoMax(major=major, minor=minor, rbps=2**40, wbps=2**40),)))
        assert fs.run(group, f"{dd} && {read}")[1] == 0
    devices = group.usage().io
    assert sum(device.wbytes for device in devices) >= 8 * MIB
    assert sum(device.rbytes for device in devices) >= 8 * MIB
    assert all(device.wios > 0 and device.rios > 0 for device in devices if device.wbytes > MIB)
    assert sum(device.wbytes for device in devices) < 64 * MIB


def test_processes_and_refused_forks(fs, group):
    with fs.running(group, "exec sleep 1000"):
        assert group.usage().pids.current == len(group.pids()) == 1
    group.apply(Limits(pids_max=3))
    # dash gives up at the first fork that is refused.
    output, _ = fs.run(group, "sleep 1 & sleep 1 & sleep 1 & echo no")
    assert "fork" in output
    pids = group.usage().pids
    assert pids.refused >= 1
    if pids.peak is not None:
        assert pids.peak == 3


def test_pressure_comes_from_cgroup2_on_any_host(fs, group):
    pressure = group.usage().pressure
    if not group.host.unified:
        assert pressure.cpu is None
        return
    with fs.running(
        group, 'for i in 1 2 3; do timeout 1 sh -c "while :; do :; done" & done; wait'
    ) as process:
        process.communicate(b"\n", timeout=60 * fs.SLOWNESS)
    assert group.usage().pressure.cpu.some.total_ns > 1_000_000
    assert group.usage().pressure.memory.full is not None


def test_a_reader_sees_what_usage_sees_until_the_group_is_gone(fs, group):
    with Reader(group) as reader:
        fs.run(group, "for i in 1 2 3; do /bin/true; done")
        # Averages of pressure and memory that is given back change by themselves for a moment.
        eventually(lambda: reader.read() == group.usage())
        group.remove()
        for _ in range(2):
            with pytest.raises(NotFoundError, match="does not exist"):
                reader.read()
        group.create()
        with pytest.raises(NotFoundError):
            reader.read()
    with Reader(group) as reader:
        assert reader.read().cpu.usage_ns == 0


def test_a_reader_of_a_group_that_never_was(parent):
    with Reader(parent) as reader, pytest.raises(NotFoundError):
        reader.read()


def test_the_root_group_can_be_read(host):
    usage = host.group("/").usage()
    assert usage.cpu.usage_ns > 0
    assert host.group("/").held() is not None
