"""A reader over a recorded cgroup v2 tree of plain files."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import (
    Descendants,
    Descriptors,
    Host,
    HugePages,
    RdmaDevice,
    Reader,
    Stall,
    files,
)
from cgagent.cgroups.files import Keys
from cgagent.cgroups.hugetlb import HugetlbV1
from cgagent.errors import NotFoundError

STALL = "avg10=1.50 avg60=0.25 avg300=0.00 total=7\n"
FILES = {
    "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\nnr_throttled 1\n",
    "cpu.stat.local": "throttled_usec 5\n",
    "memory.current": "8192\n",
    "memory.stat": "anon 4096\nfile 2048\ninactive_file 1024\n",
    "memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n",
    "memory.events.local": "low 0\nhigh 0\nmax 1\noom 1\noom_kill 1\noom_group_kill 0\n",
    "memory.swap.current": "10\n",
    "memory.swap.peak": "20\n",
    "memory.swap.events": "high 0\nmax 1\nfail 2\n",
    "memory.zswap.current": "30\n",
    "io.stat": "999:1 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 cost.usage=7\n",
    "pids.current": "3\n",
    "pids.events": "max 9\n",
    "pids.events.local": "max 8\n",
    "cgroup.procs": "11\n12\n",
    "cgroup.events": "populated 1\nfrozen 0\n",
    "cgroup.stat": "nr_descendants 2\nnr_subsys_cpu 1\nnr_dying_descendants 1\n",
    "cgroup.stat.local": "frozen_usec 6\n",
    "cpu.pressure": f"some {STALL}full {STALL}",
    "irq.pressure": f"full {STALL}",
    "hugetlb.2MB.max": "max\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.events": "max 3\n",
    "rdma.current": "mlx4_0 hca_handle=2 hca_object=2000\n",
    "misc.current": "sev 5\n",
    "dmem.current": "drm/card0/vram 4096\n",
}


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("35 24 0:30 / /cg rw - cgroup2 c rw\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "cg/g").mkdir(parents=True)
    names = "cpu io memory pids hugetlb rdma misc dmem\n"
    (tmp_path / "cg/cgroup.controllers").write_text(names)
    for name, text in FILES.items():
        (tmp_path / "cg/g" / name).write_text(text)
    return tmp_path


@pytest.fixture
def group(tree):
    return Host.detect(str(tree)).group("/g")


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_every_figure(group):
    usage = group.usage()
    assert usage.cpu.throttled_local_ns == 5000
    assert (usage.cpu.periods, usage.cpu.bursts) == (2, None)
    memory = usage.memory
    assert (memory.swap_bytes, memory.swap_peak_bytes, memory.zswap_bytes) == (10, 20, 30)
    assert memory.events_local["oom_kill"] == 1
    assert memory.swap_events == {"high": 0, "max": 1, "fail": 2}
    assert (memory.oom_kills, memory.failcnt, memory.working_set_bytes) == (4, 2, 7168)
    assert memory.mapped_bytes is None
    assert (usage.pids.processes, usage.pids.refused, usage.pids.refused_local) == (2, 9, 8)
    assert usage.pressure.irq == Stall(avg10=1.5, avg60=0.25, avg300=0.0, total_ns=7000)
    assert usage.pressure.cpu.full == usage.pressure.irq
    assert usage.pressure.memory is None
    assert (usage.frozen, usage.frozen_ns) == (False, 6000)
    assert usage.hugetlb == (HugePages(size="2MB", current_bytes=2 << 20, refused=3),)
    assert usage.io[0].cost_ns == {"usage": 7000}
    assert usage.rdma == (RdmaDevice(device="mlx4_0", hca_handles=2, hca_objects=2000),)
    assert (usage.misc, usage.dmem_bytes) == ({"sev": 5}, {"drm/card0/vram": 4096})
    assert usage.descendants == Descendants(live=2, dying=1)


@pytest.mark.parametrize("allowed", [1000, 7, 0])
def test_as_many_descriptors_as_allowed_and_the_same_figures(group, allowed):
    budget = Descriptors(allowed)
    before = descriptors()
    with Reader(group, budget) as one, Reader(group, budget) as two:
        assert one.read() == two.read() == group.usage()
        assert descriptors() - before <= allowed
    assert descriptors() == before
    with Reader(group, budget) as reader:
        reader.read()
        assert descriptors() - before == min(allowed, len(FILES) - 1)  # all but hugetlb's limit


@pytest.mark.parametrize("allowed", [1000, 0])
def test_what_changed_is_read_and_the_rest_kept(group, tree, allowed):
    with Reader(group, Descriptors(allowed)) as reader:
        first = reader.read()
        (tree / "cg/g/memory.current").write_text("16384\n")
        second = reader.read()
        assert second.memory.current_bytes == 16384
        assert second.cpu is first.cpu
        assert second == group.usage()


def test_a_group_rests_from_the_second_reading_at_which_nothing_has_run(group, tree):
    with Reader(group) as reader:
        first = reader.read()
        assert not reader.rests()
        assert reader.read(full=False) is first
        assert reader.rests()
        assert reader.rests()
        (tree / "cg/g/cpu.stat").write_text("usage_usec 8\n")
        assert not reader.rests()
        assert reader.read(full=False).cpu.usage_ns == 8000
        assert not reader.rests()
    assert not reader.rests()


def test_throttling_counted_after_the_cpu_time_is_read(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "35 24 0:30 / /cpu rw - cgroup c rw,cpu,cpuacct\n"
    )
    (tmp_path / "proc/self/cgroup").write_text("1:cpu,cpuacct:/\n")
    directory = tmp_path / "cpu/g"
    directory.mkdir(parents=True)
    (directory / "cgroup.procs").write_text("")
    (directory / "cpuacct.usage").write_text("7\n")

    def throttle(periods):
        (directory / "cpu.stat").write_text(
            f"nr_periods {periods}\nnr_throttled 0\nthrottled_time 0\n"
        )

    throttle(1)
    with Reader(Host.detect(str(tmp_path)).group("/g")) as reader:
        reader.read()
        (directory / "cpuacct.usage").write_text("8\n")
        assert reader.read(full=False).cpu.usage_ns == 8
        throttle(2)
        assert not reader.rests()
        assert reader.read(full=False).cpu.periods == 2
        assert not reader.rests()
        assert reader.read(full=False).cpu.periods == 2
        assert reader.rests()


def test_page_cache_that_has_gone_since_is_no_negative_memory(group, tree):
    with Reader(group) as reader:
        (tree / "cg/g/memory.stat").write_text("anon 4096\nfile 65536\ninactive_file 65536\n")
        (tree / "cg/g/memory.current").write_text("73728\n")
        assert reader.read().memory.working_set_bytes == 8192
        (tree / "cg/g/memory.current").write_text("8192\n")
        (tree / "cg/g/cpu.stat").write_text("usage_usec 8\nuser_usec 4\nsystem_usec 3\n")
        assert reader.read(full=False).memory.working_set_bytes == 4096


@pytest.mark.parametrize("allowed", [1000, 0])
def test_another_group_of_the_same_name_is_not_read(group, tree, allowed):
    with Reader(group, Descriptors(allowed)) as reader:
        reader.read()
        os.rename(tree / "cg/g", tree / "cg/old")
        shutil.copytree(tree / "cg/old", tree / "cg/g")
        with pytest.raises(NotFoundError):
            reader.read()
    shutil.rmtree(tree / "cg/g")
    with Reader(group) as reader, pytest.raises(NotFoundError):
        reader.read()


def test_groups_that_come_and_go_below_it_are_counted(group, tree):
    below = tree / "cg/g/below"
    with Reader(group) as reader:
        assert reader.read().pids.processes == 2
        below.mkdir()
        (below / "cgroup.procs").write_text("13\n")
        assert reader.read().pids.processes == 3
        shutil.rmtree(below)
        assert reader.read().pids.processes == 2


def test_files_that_appear_later_are_found(group, tree):
    os.unlink(tree / "cg/g/misc.current")
    with Reader(group) as reader:
        assert reader.read().misc is None
        (tree / "cg/g/misc.current").write_text("sev 1\n")
        for _ in range(300):
            usage = reader.read()
        assert usage.misc == {"sev": 1}


WORDS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@given(st.lists(st.dictionaries(WORDS, st.integers(0, 2**64)), min_size=1, max_size=5), st.data())
def test_keys_wherever_they_stand(texts, data):
    every = sorted({key for values in texts for key in values} | {"absent"})
    wanted = data.draw(st.lists(st.sampled_from(every), unique=True))
    keys = Keys(*wanted)
    for values in texts:
        text = "".join(f"{key} {value}\n" for key, value in values.items())
        assert keys.values(text) == tuple(values.get(key) for key in wanted)
    assert keys.values(None) == (None,) * len(wanted)


def test_huge_pages_of_v1(tmp_path):
    numbers = {
        "limit_in_bytes": 1 << 30,
        "usage_in_bytes": 1,
        "max_usage_in_bytes": 2,
        "failcnt": 3,
    }
    for size in ("1GB", "2MB"):
        for name, number in numbers.items():
            (tmp_path / f"hugetlb.{size}.{name}").write_text(f"{number}\n")
    meter = HugetlbV1(str(tmp_path))
    found = meter.usage([files.read(path) for path in meter.paths()])
    pages = {"current_bytes": 1, "peak_bytes": 2, "refused": 3}
    assert found == (HugePages(size="1GB", **pages), HugePages(size="2MB", **pages))


def kept(name):
    """Descriptors of files of this name."""
    with os.scandir("/proc/self/fd") as entries:
        return [e.name for e in entries if os.path.basename(os.readlink(e.path)) == name]


def test_the_last_descriptors_are_for_what_is_always_read(group, tree):
    budget = Descriptors(3, reserved=2)
    before = descriptors()
    with Reader(group, budget) as one, Reader(group, budget) as two:
        assert one.read() == two.read() == group.usage()
        assert len(kept("cpu.stat")) == descriptors() - before == 2
        (tree / "cg/g/cpu.stat").write_text("usage_usec 8\nuser_usec 4\nsystem_usec 3\n")
        (tree / "cg/g/memory.current").write_text("16384\n")
        assert two.read(full=False).memory.current_bytes == 16384
