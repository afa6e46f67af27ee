"""Each limit, applied through the library and read back from the raw kernel file."""

import os
from pathlib import Path

import pytest

from cgagent.cgroups import UNLIMITED, Drift, IoLatency, IoMax, IoWeight, Limits, shares_to_weight
from cgagent.errors import (
    CgagentError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)

pytestmark = pytest.mark.system

MIB = 2**20

# What is asked; controller; v1 file and text; v2 file and text. No file: to be refused.
SIMPLE = [
    (
        {"memory_max_bytes": 64 * MIB},
        "memory",
        ("memory.limit_in_bytes", str(64 * MIB)),
        ("memory.max", str(64 * MIB)),
    ),
    ({"memory_high_bytes": 64 * MIB}, "memory", None, ("memory.high", str(64 * MIB))),
    (
        {"memory_low_bytes": 32 * MIB},
        "memory",
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
        ("memory.low", str(32 * MIB)),
    ),
    ({"memory_min_bytes": 16 * MIB}, "memory", None, ("memory.min", str(16 * MIB))),
    ({"memory_swappiness": 10}, "memory", ("memory.swappiness", "10"), None),
    ({"oom_group": True}, "memory", None, ("memory.oom.group", "1")),
    (
        {"oom_kill_disable": True},
        "memory",
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"),
        None,
    ),
    ({"cpu_shares": 512}, "cpu", ("cpu.shares", "512"), ("cpu.weight", "59")),
    ({"cpu_shares": 777}, "cpu", ("cpu.shares", "777"), ("cpu.weight", str(shares_to_weight(777)))),
    ({"cpu_weight": 100}, "cpu", ("cpu.shares", "1024"), ("cpu.weight", "100")),
    ({"cpu_weight": 10_000}, "cpu", ("cpu.shares", "262144"), ("cpu.weight", "10000")),
    (
        {"cpu_quota_us": 50_000},
        "cpu",
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.max", "50000 100000"),
    ),
    (
        {"cpu_period_us": 20_000},
        "cpu",
        ("cpu.cfs_period_us", "20000"),
        ("cpu.max", "max 20000"),
    ),
    (
        {"cpu_quota_us": 40_000, "cpu_burst_us": 30_000},
        "cpu",
        ("cpu.cfs_burst_us", "30000"),
        ("cpu.max.burst", "30000"),
    ),
    ({"cpu_idle": True}, "cpu", ("cpu.idle", "1"), ("cpu.idle", "1")),
    ({"cpuset_cpus": "0"}, "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ({"cpuset_mems": "0"}, "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ({"pids_max": 17}, "pids", ("pids.max", "17"), ("pids.max", "17")),
]


@pytest.mark.parametrize("case", SIMPLE, ids=lambda case: str(case[0]))
def test_a_limit_reaches_its_file_or_is_refused(fs, group, case):
    asked, controller, v1, v2 = case
    file_and_text = v1 if fs.is_v1(group.host, controller) else v2
    before = group.held()
    if file_and_text is None:
        with pytest.raises(UnsupportedError, match=next(iter(asked))):
            group.apply(Limits(**asked))
        assert group.held() == before
        return
    group.apply(Limits(**asked))
    path = fs.file_of(group, controller, file_and_text[0], file_and_text[0])
    assert path.read_text().strip() == file_and_text[1]
    held = dict(group.held())
    for name, value in asked.items():
        if name not in {"cpu_shares", "cpu_weight"}:
            assert held[name] == value


def test_what_is_held_can_be_applied_again(group):
    group.apply(Limits(cpu_quota_us=30_000, pids_max=9, memory_max_bytes=64 * MIB))
    held = group.held()
    group.apply(held)
    assert group.held() == held


def test_limits_can_be_lifted_again(group):
    before = group.held()
    group.apply(
        Limits(cpu_quota_us=30_000, pids_max=9, memory_max_bytes=64 * MIB, memory_low_bytes=MIB)
    )
    group.apply(
        Limits(
            cpu_quota_us=UNLIMITED,
            pids_max=UNLIMITED,
            memory_max_bytes=UNLIMITED,
            memory_low_bytes=0,
            memory_swap_max_bytes=UNLIMITED,
        )
    )
    assert group.held() == before


@pytest.mark.parametrize("swap", [0, 32 * MIB, UNLIMITED])
def test_swap_is_alone_in_the_model(fs, group, swap):
    group.apply(Limits(memory_max_bytes=64 * MIB, memory_swap_max_bytes=swap))
    assert group.held().memory_swap_max_bytes == swap
    raw = fs.file_of(group, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max").read_text()
    if fs.is_v1(group.host, "memory"):
        assert int(raw) == 64 * MIB + swap if swap != UNLIMITED else int(raw) > 2**62
    else:
        assert raw.strip() == ("max" if swap == UNLIMITED else str(swap))


@pytest.mark.parametrize(
    ("first", "then"), [(32, 256), (256, 32), (64, 64)], ids=["grow", "shrink", "same"]
)
def test_memory_and_swap_move_in_either_direction(group, first, then):
    for size in (first, then):
        group.apply(Limits(memory_max_bytes=size * MIB, memory_swap_max_bytes=size * MIB))
        assert group.held().memory_max_bytes == size * MIB
        assert group.held().memory_swap_max_bytes == size * MIB


def test_memory_alone_leaves_swap_as_it_is(group):
    group.apply(Limits(memory_max_bytes=64 * MIB, memory_swap_max_bytes=16 * MIB))
    for size in (128, 32):
        group.apply(Limits(memory_max_bytes=size * MIB))
        assert group.held().memory_max_bytes == size * MIB
        assert group.held().memory_swap_max_bytes == 16 * MIB


def test_swap_without_a_memory_limit_is_refused_on_v1(fs, group):
    limits = Limits(memory_swap_max_bytes=16 * MIB)
    if fs.is_v1(group.host, "memory"):
        with pytest.raises(UnsupportedError, match=r"memory\.memsw"):
            group.apply(limits)
    else:
        group.apply(limits)
        assert group.held().memory_swap_max_bytes == 16 * MIB


@pytest.mark.parametrize(
    "steps",
    [
        [(50_000, 100_000), (5_000, 10_000), (500_000, 1_000_000)],
        [(1_000, 1_000), (1_000, 1_000_000), (900_000, 900_000)],
    ],
)
def test_quota_and_period_change_below_a_limited_parent(parent, group, steps):
    parent.apply(Limits(cpu_quota_us=100_000, cpu_period_us=100_000))
    for quota, period in steps:
        group.apply(Limits(cpu_quota_us=quota, cpu_period_us=period))
        assert (group.held().cpu_quota_us, group.held().cpu_period_us) == (quota, period)


def test_a_burst_grows_and_shrinks_with_its_quota(group):
    for quota, burst in [(20_000, 20_000), (90_000, 80_000), (10_000, 5_000)]:
        group.apply(Limits(cpu_quota_us=quota, cpu_burst_us=burst))
        assert (group.held().cpu_quota_us, group.held().cpu_burst_us) == (quota, burst)


def test_a_weight_survives_becoming_idle_and_back(group):
    group.apply(Limits(cpu_shares=333, cpu_idle=True))
    assert group.held().cpu_idle is True
    assert group.held().weight is None
    group.apply(Limits(cpu_shares=333, cpu_idle=False))
    assert group.held().weight == shares_to_weight(333)


def test_a_weight_is_put_back_when_going_idle_fails_later(group):
    group.apply(Limits(cpu_shares=333))
    held = group.held()
    with pytest.raises(CgagentError):
        group.apply(Limits(cpu_idle=True, cpuset_cpus="4000"))
    assert group.held() == held


def test_empty_cpuset_follows_the_parent(fs, group):
    group.apply(Limits(cpuset_cpus="0"))
    group.apply(Limits(cpuset_cpus=""))
    effective = fs.file_of(group, "cpuset", "cpuset.effective_cpus", "cpuset.cpus.effective")
    above = effective.parent.parent / effective.name
    assert effective.read_text() == above.read_text()


def test_an_empty_cpuset_of_a_group_with_processes(fs, group):
    """The kernel takes no list away from them: they get the parent's."""
    with fs.running(group, "exec sleep 1000"):
        before = group.held()
        earlier = group.earlier(Limits(cpuset_cpus="0"))
        with pytest.raises(InvalidInputError, match="limit cpuset_mems"):
            group.apply(Limits(cpuset_cpus="0", cpuset_mems="0-999"))
        assert group.held() == before
        group.apply(Limits(cpuset_cpus="0"))
        assert group.held().cpuset_cpus == "0"
        group.put_back(earlier)
        assert group.held().cpuset_cpus != "0"
        group.apply(Limits(cpuset_cpus="0"))
        group.apply(Limits(cpuset_cpus=""))
        effective = fs.file_of(group, "cpuset", "cpuset.effective_cpus", "cpuset.cpus.effective")
        assert effective.read_text() == (effective.parent.parent / effective.name).read_text()
        assert group.drift(Limits(cpuset_cpus="")) == ()


def test_io_caps(fs, group):
    major, minor = fs.disk()
    caps = IoMax(major=major, minor=minor, rbps=2 * MIB, wbps=MIB, riops=200, wiops=UNLIMITED)
    group.apply(Limits(io_max=(caps,)))
    assert group.held().io_max == (caps,)
    if fs.is_v1(group.host, "io"):
        path = fs.file_of(group, "io", "blkio.throttle.read_bps_device", None)
        assert path.read_text() == f"{major}:{minor} {2 * MIB}\n"
    else:
        text = fs.file_of(group, "io", None, "io.max").read_text()
        assert text == f"{major}:{minor} rbps={2 * MIB} wbps={MIB} riops=200 wiops=max\n"
    group.apply(Limits(io_max=(IoMax(major=major, minor=minor, rbps=UNLIMITED),)))
    assert group.held().io_max[0].rbps == UNLIMITED
    assert group.held().io_max[0].wbps == MIB
    lifted = IoMax(major=major, minor=minor, wbps=UNLIMITED, riops=UNLIMITED)
    group.apply(Limits(io_max=(lifted,)))
    assert group.held().io_max == ()


def test_io_caps_of_a_device_that_is_not_there(group):
    with pytest.raises(InvalidInputError, match="no such block device"):
        group.apply(Limits(pids_max=5, io_max=(IoMax(major=999, minor=7, rbps=MIB),)))
    assert group.held().pids_max == UNLIMITED


def test_io_weight(fs, group):
    files = {
        name: path
        for name in ("io.weight", "io.bfq.weight", "blkio.bfq.weight")
        if (path := fs.file_of(group, "io", name, name)).exists()
    }
    if not files:
        with pytest.raises(UnsupportedError, match="blkio_weight"):
            group.apply(Limits(blkio_weight=300))
        return
    group.apply(Limits(blkio_weight=300))
    expected = {"io.weight": "default 2930", "io.bfq.weight": "300", "blkio.bfq.weight": "300"}
    for name, path in files.items():
        assert path.read_text().splitlines()[0].removeprefix("default ") == expected[
            name
        ].removeprefix("default ")


def test_hugetlb(fs, group):
    place = group.host.placements.get("hugetlb")
    if not place or (place.version == 2 and not is_delegated(group)):
        pytest.skip("hugetlb is not enabled below this host's root group")
    sizes = sorted(os.listdir("/sys/kernel/mm/hugepages"))
    size_mib = int(sizes[0].removeprefix("hugepages-").removesuffix("kB")) // 1024
    size = f"{size_mib}MB" if size_mib < 1024 else f"{size_mib // 1024}GB"
    group.apply(Limits(hugetlb_max_bytes=((size, size_mib * MIB * 3),)))
    assert (size, size_mib * MIB * 3) in group.held().hugetlb_max_bytes
    raw = fs.file_of(group, "hugetlb", f"hugetlb.{size}.limit_in_bytes", f"hugetlb.{size}.max")
    assert raw.read_text().strip() == str(size_mib * MIB * 3)
    group.apply(Limits(hugetlb_max_bytes=((size, UNLIMITED),)))
    assert (size, UNLIMITED) in group.held().hugetlb_max_bytes
    with pytest.raises(UnsupportedError, match=r"hugetlb\.3MB"):
        group.apply(Limits(hugetlb_max_bytes=(("3MB", 0),)))


def is_delegated(group):
    root = Path(group.host.unified.mount)
    return "hugetlb" in (root / "cgroup.subtree_control").read_text().split()


@pytest.mark.parametrize(
    "limits",
    [
        Limits(memory_max_bytes=64 * MIB, pids_max=5, cpuset_cpus="4000"),
        Limits(cpu_shares=300, cpu_quota_us=50_000, cpuset_cpus="0", cpuset_mems="999"),
        Limits(pids_max=5, cpu_quota_us=1),
    ],
)
def test_a_refused_limit_leaves_all_others_as_they_were(group, limits):
    group.apply(Limits(cpu_shares=400, pids_max=77, cpu_quota_us=60_000))
    before = group.held()
    with pytest.raises(InvalidInputError, match="limit cpu"):
        group.apply(limits)
    assert group.held() == before


def test_a_lowered_limit_takes_effect_step_by_step_or_not_at_all(fs, group):
    """Anonymous memory without swap cannot be given back: nothing may be killed for it."""
    with fs.holding(group, 64) as process:
        group.apply(Limits(memory_swap_max_bytes=0, memory_max_bytes=256 * MIB))
        before = group.held()
        with pytest.raises(ConflictError, match=r"more is in use \(\d+ bytes.*(--force|with swap)"):
            group.apply(Limits(memory_max_bytes=16 * MIB, pids_max=5), timeout_s=2 * fs.SLOWNESS)
        assert group.held() == before
        assert process.poll() is None
        assert group.oom_kills() == 0


def test_a_shrink_that_would_stop_the_group_is_given_up(fs, group):
    """Swap has room for what the process uses, but it needs each page of it again and again."""
    if fs.is_v1(group.host, "memory") or "CGAGENT_TEST_MODE" not in os.environ:
        pytest.skip("the guest with cgroup2 has both swap and pressure")
    pages = "x = bytearray(160 << 20); y = bytes(len(x) // 4096)"
    churn = f"{pages}\nx[::4096] = y\nprint(1, flush=True)\nwhile True: x[::4096] = y"
    with fs.running(group, f"exec python3 -S -E -c '{churn}'") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        before = group.held()
        with pytest.raises(ConflictError, match="stalled for want of memory"):
            group.apply(Limits(memory_max_bytes=16 * MIB), timeout_s=30 * fs.SLOWNESS)
        assert group.held() == before
        assert process.poll() is None
        assert group.oom_kills() == 0


def test_page_cache_is_given_back_for_a_lowered_limit(fs, group):
    path = f"{fs.disk_directory()}/{group.path.replace('/', '-')}"
    output, status = fs.run(group, f"dd if=/dev/zero of={path} bs=1M count=64 2>&1; sync {path}")
    try:
        assert status == 0, output
        assert group.usage().memory.current_bytes > 48 * MIB
        before = group.held()
        group.apply(Limits(memory_max_bytes=16 * MIB), timeout_s=30 * fs.SLOWNESS)
        assert group.held() == before.merged(Limits(memory_max_bytes=16 * MIB))
        assert group.usage().memory.current_bytes <= 16 * MIB
        assert group.oom_kills() == 0
    finally:
        os.unlink(path)


def test_a_forced_limit_is_written_at_once(fs, group):
    with fs.holding(group, 64) as process:
        group.apply(Limits(memory_swap_max_bytes=0, memory_max_bytes=256 * MIB))
        if fs.is_v1(group.host, "memory"):
            with pytest.raises(ConflictError, match="more is in use"):
                group.apply(Limits(memory_max_bytes=16 * MIB), force=True)
            assert process.poll() is None
            return
        group.apply(Limits(memory_max_bytes=16 * MIB), force=True)
        assert group.held().memory_max_bytes == 16 * MIB
        assert process.wait() == -9
        assert group.oom_kills() == 1


def test_another_limit_that_is_refused_undoes_a_shrink(fs, group):
    path = f"{fs.disk_directory()}/{group.path.replace('/', '-')}"
    fs.run(group, f"dd if=/dev/zero of={path} bs=1M count=48 2>&1; sync {path}")
    try:
        before = group.held()
        with pytest.raises(InvalidInputError, match="cpuset"):
            group.apply(Limits(memory_max_bytes=16 * MIB, cpuset_cpus="4000"))
        assert group.held() == before
    finally:
        os.unlink(path)


def test_realtime(fs, group, parent):
    limits = Limits(cpu_rt_period_us=1_000_000, cpu_rt_runtime_us=10_000)
    if not fs.is_v1(group.host, "cpu"):
        with pytest.raises(UnsupportedError, match=r"cpu_rt_period_us: .*cpu\.rt_period_us"):
            group.apply(limits)
        return
    if not fs.file_of(group, "cpu", "cpu.rt_runtime_us", None).exists():
        with pytest.raises(UnsupportedError, match=r"no cpu\.rt_period_us in .* this kernel"):
            group.apply(limits)
        return
    with pytest.raises(InvalidInputError, match="share the parent group has"):
        group.apply(limits)
    parent.apply(Limits(cpu_rt_runtime_us=20_000))
    group.apply(limits)
    assert fs.file_of(group, "cpu", "cpu.rt_runtime_us", None).read_text() == "10000\n"
    for period, runtime in [(500_000, 9_000), (1_000_000, 18_000), (100_000, 1_000)]:
        group.apply(Limits(cpu_rt_period_us=period, cpu_rt_runtime_us=runtime))
        assert group.held().cpu_rt_period_us == period
        assert group.held().cpu_rt_runtime_us == runtime
    group.apply(Limits(cpu_rt_runtime_us=0))
    parent.apply(Limits(cpu_rt_runtime_us=0))


def test_zswap(fs, group):
    path = fs.file_of(group, "memory", None, "memory.zswap.max")
    if path and path.exists():
        group.apply(Limits(memory_zswap_max_bytes=8 * MIB))
        assert path.read_text() == f"{8 * MIB}\n"
        assert group.held().memory_zswap_max_bytes == 8 * MIB
        return
    with pytest.raises(UnsupportedError, match=r"memory_zswap_max_bytes: .*memory\.zswap\.max"):
        group.apply(Limits(memory_zswap_max_bytes=8 * MIB))


def test_io_latency(fs, group):
    major, minor = fs.disk()
    limits = Limits(io_latency=(IoLatency(major=major, minor=minor, target_us=5000),))
    path = fs.file_of(group, "io", None, "io.latency")
    if path and path.exists():
        group.apply(limits)
        assert path.read_text() == f"{major}:{minor} target=5000\n"
        assert group.held().io_latency == limits.io_latency
        return
    with pytest.raises(UnsupportedError, match=r"limit io_latency: .*io\.latency"):
        group.apply(limits)


def test_io_weight_of_a_device(fs, group):
    """Only a disk scheduled by bfq has weights; a loop device can be."""
    with fs.loop_device() as device, fs.scheduled(device, "bfq"):
        major, minor = os.major(device.rdev), os.minor(device.rdev)
        weight = IoWeight(major=major, minor=minor, weight=300)
        group.apply(Limits(blkio_weight_device=(weight,)))
        raw = fs.file_of(group, "io", "blkio.bfq.weight_device", "io.bfq.weight").read_text()
        assert f"{major}:{minor} 300" in raw.splitlines()
        asked = Limits(blkio_weight_device=(weight,))
        assert asked.diff(group.held()) == ()
        with pytest.raises(InvalidInputError):
            group.apply(
                Limits(
                    io_weight_device=(IoWeight(major=major, minor=minor, weight=1),),
                    io_max=(IoMax(major=999, minor=7, rbps=1),),
                )
            )
        assert asked.diff(group.held()) == ()
        taken_back = Limits(blkio_weight_device=(IoWeight(major=major, minor=minor),))
        group.apply(taken_back)
        assert taken_back.diff(group.held()) == ()
        assert asked.diff(group.held()) != ()


def test_io_weight_of_a_device_without_a_scheduler_for_it(fs, group):
    with fs.loop_device() as device, fs.scheduled(device, "none"):
        major, minor = os.major(device.rdev), os.minor(device.rdev)
        weight = IoWeight(major=major, minor=minor, weight=300)
        with pytest.raises(UnsupportedError, match=r"limit blkio_weight_device: .*"):
            group.apply(Limits(pids_max=5, blkio_weight_device=(weight,)))
        assert group.held().pids_max == UNLIMITED


def test_any_setting_by_its_file(fs, group):
    asked = Limits(conf=(("pids.max", "77"),))
    group.apply(asked)
    assert group.drift(asked) == ()
    (drift,) = group.drift(Limits(conf=(("pids.max", "78"),)))
    assert drift == Drift("conf", (("pids.max", "78"),), (("pids.max", "77"),))
    assert group.held(["pids.max"]).conf == (("pids.max", "77"),)
    assert group.held().conf is None
    before = group.held()
    with pytest.raises(InvalidInputError, match=r"limit conf: .*pids\.max refuses"):
        group.apply(Limits(cpu_quota_us=50_000, conf=(("pids.max", "78"), ("pids.max", "x"))))
    assert group.held() == before
    with pytest.raises(UnsupportedError, match=r"limit conf: there is no nonsense\.max"):
        group.apply(Limits(conf=(("nonsense.max", "1"),)))
    with pytest.raises(UnsupportedError, match=r"no pids\.nonsense in"):
        group.apply(Limits(conf=(("pids.nonsense", "1"),)))


@pytest.mark.parametrize(
    ("controller", "value"),
    [("rdma", "nonsense hca_handle=1"), ("misc", "nonsense 1"), ("dmem", "nonsense 1")],
)
def test_controllers_of_devices_that_are_not_there(group, controller, value):
    """Enabled for the group when asked for, wherever this host has them."""
    asked = Limits(conf=((f"{controller}.max", value),))
    if controller not in group.host.placements:
        with pytest.raises(UnsupportedError, match=f"no {controller} cgroup controller"):
            group.apply(asked)
        return
    with pytest.raises(CgagentError, match=rf"limit conf: .*{controller}\.max refuses"):
        group.apply(asked)
    assert group.held([f"{controller}.max"]).conf == ((f"{controller}.max", ""),)


def test_rdma_of_a_device(fs, group):
    """v1 and v2 have the same file."""
    with fs.rdma_device() as device:
        asked = Limits(conf=(("rdma.max", f"{device} hca_handle=2 hca_object=2000"),))
        group.apply(asked)
        raw = fs.file_of(group, "rdma", "rdma.max", "rdma.max")
        assert raw.read_text().split() == [device, "hca_handle=2", "hca_object=2000"]
        assert group.drift(asked) == ()
        refused = (("rdma.max", f"{device} hca_handle=7"), ("pids.max", "nonsense"))
        with pytest.raises(InvalidInputError, match="pids"):
            group.apply(Limits(conf=refused))
        assert group.drift(asked) == ()
        group.apply(Limits(conf=(("rdma.max", f"{device} hca_handle=3"),)))
        assert raw.read_text().split() == [device, "hca_handle=3", "hca_object=2000"]
        assert group.drift(asked) != ()
        (usage,) = group.usage().rdma
        assert (usage.device, usage.hca_handles, usage.hca_objects) == (device, 0, 0)
        with pytest.raises(NotFoundError, match=r"rdma\.max refuses"):
            group.apply(Limits(conf=(("rdma.max", "nonsense hca_handle=1"),)))


def test_what_was_applied_has_not_drifted_until_somebody_else_writes(fs, group):
    asked = Limits(
        memory_max_bytes=64 * MIB + 1234,
        memory_swap_max_bytes=MIB + 77,
        cpu_shares=777,
        cpu_quota_us=33_333,
        cpuset_cpus="0,0",
        pids_max=9,
    )
    group.apply(asked)
    assert asked.diff(group.held()) == ()
    fs.file_of(group, "pids", "pids.max", "pids.max").write_text("8")
    assert asked.diff(group.held()) == (Drift("pids_max", 9, 8),)


def test_a_group_that_is_not_there(parent):
    for use in (parent.held, parent.usage, parent.freeze, parent.kill, parent.pids):
        with pytest.raises(NotFoundError, match="does not exist"):
            use()
    with pytest.raises(NotFoundError):
        parent.apply(Limits(pids_max=3))


def test_a_larger_share_than_the_group_above_has_is_refused_by_its_name(host, group):
    if host.placements["cpu"].version == 2:
        pytest.skip("cgroup v2 holds the smaller of the two")
    below = host.group(f"{group.path}/below")
    below.create()
    group.apply(Limits(cpu_quota_us=50_000, cpu_period_us=100_000))
    below.apply(Limits(cpu_quota_us=10_000, cpu_period_us=100_000))
    message = "cpu.cfs_quota_us refuses 60000 of each 50000 us: the group above it, .*"
    with pytest.raises(
        InvalidInputError, match=message + f"{group.path}, has 50000 of each 100000"
    ):
        below.apply(Limits(cpu_quota_us=60_000, cpu_period_us=50_000))
    assert below.held().cpu_quota_us == 10_000
    below.remove()
