"""Events as the live kernel announces them, and who is to blame for an OOM kill."""

import os
import select
import time

import pytest

from cgagent.cgroups import (
    UNLIMITED,
    Frozen,
    Limits,
    MemoryHigh,
    MemoryMax,
    Oom,
    PidsRefused,
    Populated,
    PressureStall,
    Removed,
    Trigger,
    Watcher,
)
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError, UnsupportedError

pytestmark = pytest.mark.system

MIB = 2**20
EAT = "exec python3 -S -E -c 'x = b\"x\" * (96 << 20)'"


@pytest.fixture
def watcher():
    before = len(os.listdir("/proc/self/fd"))
    with Watcher() as watcher:
        yield watcher
    assert len(os.listdir("/proc/self/fd")) == before


def wait_for(watcher, kind, slowness, group=None):
    """Events up to the first of a kind, and that one."""
    deadline = time.monotonic() + 10 * slowness
    seen = []
    while time.monotonic() < deadline:
        select.select([watcher.fileno()], [], [], 0.2)
        for event in watcher.read():
            seen.append(event)
            if isinstance(event, kind) and group in {None, event.group}:
                return event
    pytest.fail(f"no {kind} but {seen}")
    return None


def quiet(watcher, slowness):
    """All that comes within a moment."""
    deadline = time.monotonic() + 0.4 * slowness
    seen = []
    while (left := deadline - time.monotonic()) > 0:
        if select.select([watcher.fileno()], [], [], left)[0]:
            seen += watcher.read()
    return seen


def test_a_groups_own_limit(fs, group, watcher):
    group.apply(Limits(memory_max_bytes=24 * MIB, memory_swap_max_bytes=0))
    watcher.add(group)
    since = group.oom_counters()
    _, status = fs.run(group, EAT)
    assert status == -9
    event = wait_for(watcher, Oom, fs.SLOWNESS)
    assert event.group == event.limiting_group == group.path
    assert event.victims == 1
    assert event.limit_bytes == 24 * MIB
    assert event.peak_bytes is None or 20 * MIB < event.peak_bytes <= 24 * MIB
    report = group.oom_report(since)
    assert (report.limiting_group, report.victims) == (group.path, 1)
    assert group.oom_report(group.oom_counters()) is None
    assert not any(isinstance(e, Oom) for e in quiet(watcher, fs.SLOWNESS))


def test_the_limit_of_a_parent(fs, host, parent, group, watcher):
    other = host.group(f"{parent.path}/other")
    other.create()
    parent.apply(Limits(memory_max_bytes=48 * MIB, memory_swap_max_bytes=0))
    group.apply(Limits(memory_max_bytes=200 * MIB))
    for each in (group, other):
        watcher.add(each)
    since = group.oom_counters()
    _, status = fs.run(group, EAT)
    assert status == -9
    event = wait_for(watcher, Oom, fs.SLOWNESS)
    assert (event.group, event.limiting_group, event.victims) == (group.path, parent.path, 1)
    assert event.limit_bytes == 48 * MIB
    assert group.oom_report(since).limiting_group == parent.path
    assert not any(isinstance(e, Oom) for e in quiet(watcher, fs.SLOWNESS))


@pytest.mark.parametrize("is_there", [True, False])
def test_the_limit_of_a_group_below(fs, parent, group, watcher, is_there):
    if not is_there:
        group.remove()
    watcher.add(parent)
    if not is_there:
        for _ in range(3 if fs.SLOWNESS == 1 else 1):  # it comes and goes
            group.create()
            assert not quiet(watcher, fs.SLOWNESS)
            group.remove()
            quiet(watcher, fs.SLOWNESS)
        group = group.host.group(f"{group.path}/deeper")
        group.create()
        quiet(watcher, fs.SLOWNESS)
    group.apply(Limits(memory_max_bytes=24 * MIB, memory_swap_max_bytes=0))
    since = parent.oom_counters()
    fs.run(group, EAT)
    event = wait_for(watcher, Oom, fs.SLOWNESS)
    assert (event.group, event.limiting_group) == (parent.path, group.path)
    assert parent.oom_report(since).limiting_group == group.path


def test_tasks_that_wait_for_memory(fs, group, watcher):
    if not fs.is_v1(group.host, "memory"):
        pytest.skip("v2 always kills")
    group.apply(Limits(memory_max_bytes=24 * MIB, memory_swap_max_bytes=0, oom_kill_disable=True))
    watcher.add(group)
    with fs.running(group, EAT) as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        event = wait_for(watcher, Oom, fs.SLOWNESS)
        assert (event.limiting_group, event.victims) == (group.path, 0)
        assert process.poll() is None
        group.apply(Limits(memory_max_bytes=UNLIMITED, memory_swap_max_bytes=UNLIMITED))
        assert process.wait(10 * fs.SLOWNESS) == 0


def test_memory_high_and_max(fs, group, watcher):
    if fs.is_v1(group.host, "memory"):
        pytest.skip("v1 has no memory.high, and the test after is its own")
    group.apply(Limits(memory_high_bytes=16 * MIB, memory_max_bytes=24 * MIB))
    watcher.add(group)
    path = f"{fs.disk_directory()}/{group.path.replace('/', '-')}"
    fs.run(group, f"dd if=/dev/zero of={path} bs=1M count=64 2>&1; rm {path}")
    assert wait_for(watcher, MemoryHigh, fs.SLOWNESS).count > 0
    group.apply(Limits(memory_high_bytes=UNLIMITED))
    fs.run(group, f"dd if=/dev/zero of={path} bs=1M count=64 2>&1; rm {path}")
    assert wait_for(watcher, MemoryMax, fs.SLOWNESS).count > 0


@pytest.mark.parametrize("swap", [64 * MIB, 0])
def test_a_v1_limit_that_is_hit(fs, parent, group, watcher, swap):
    """With no swap memory + swap is full first, which not every kernel counts."""
    if not fs.is_v1(group.host, "memory"):
        pytest.skip("v2 is the test before")
    group.apply(Limits(memory_max_bytes=24 * MIB, memory_swap_max_bytes=swap))
    for each in (parent, group):
        watcher.add(each)
    path = f"{fs.disk_directory()}/{group.path.replace('/', '-')}"
    for _ in range(2):
        fs.run(group, f"dd if=/dev/zero of={path} bs=1M count=64 2>&1; rm {path}")
        assert wait_for(watcher, MemoryMax, fs.SLOWNESS, group.path).count > 0
    told = [e for e in quiet(watcher, fs.SLOWNESS) if isinstance(e, MemoryMax)]
    assert {e.group for e in told} <= {group.path}
    assert not [e for e in quiet(watcher, fs.SLOWNESS) if isinstance(e, MemoryMax)]


def test_refused_forks(fs, group, watcher):
    group.apply(Limits(pids_max=2))
    watcher.add(group)
    fs.run(group, "sleep 1 & sleep 1 & echo no")
    assert wait_for(watcher, PidsRefused, fs.SLOWNESS).count >= 1


def test_populated_frozen_and_removed(fs, group, watcher):
    watcher.add(group)
    if not group.host.unified:
        group.remove()
        assert wait_for(watcher, Removed, fs.SLOWNESS) == Removed(group=group.path)
        return
    with fs.running(group, "exec sleep 1000"):
        assert wait_for(watcher, Populated, fs.SLOWNESS).populated is True
        group.freeze(10 * fs.SLOWNESS)
        assert wait_for(watcher, Frozen, fs.SLOWNESS).frozen is True
        group.thaw(10 * fs.SLOWNESS)
        assert wait_for(watcher, Frozen, fs.SLOWNESS).frozen is False
    assert wait_for(watcher, Populated, fs.SLOWNESS).populated is False
    group.remove()
    assert wait_for(watcher, Removed, fs.SLOWNESS) == Removed(group=group.path)
    group.create()
    watcher.add(group)
    watcher.remove(group)
    with fs.running(group, "exec sleep 1000"):
        assert quiet(watcher, fs.SLOWNESS) == []


def test_pressure(fs, group, watcher):
    trigger = Trigger("cpu", "some", stall_us=50_000, window_us=2_000_000)
    if not group.host.unified:
        with pytest.raises(UnsupportedError, match=r"no cpu\.pressure"):
            watcher.add(group, trigger)
        return
    watcher.add(group, trigger)
    burn = 'for i in 1 2 3 4; do timeout 3 sh -c "while :; do :; done" & done; wait'
    with fs.running(group, burn) as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert wait_for(watcher, PressureStall, fs.SLOWNESS).trigger == trigger


def test_what_cannot_be_watched(group, parent, watcher):
    watcher.add(group)
    with pytest.raises(ConflictError, match="watched already"):
        watcher.add(group)
    with pytest.raises(NotFoundError):
        watcher.add(group.host.group(f"{parent.path}/nowhere"))
    if group.host.unified:
        with pytest.raises(InvalidInputError, match="a window is"):
            watcher.add(parent, Trigger("cpu", "some", stall_us=5, window_us=1))
        watcher.add(parent)


def test_many_groups_one_stream(fs, host, parent, watcher):
    groups = [host.group(f"{parent.path}/{number}") for number in range(20)]
    for group in groups:
        group.create()
        group.apply(Limits(pids_max=2))
        watcher.add(group)
    fs.run(groups[7], "sleep 1 & sleep 1 & echo no")
    fs.run(groups[13], "sleep 1 & sleep 1 & echo no")
    refused = {wait_for(watcher, PidsRefused, fs.SLOWNESS).group}
    refused |= {e.group for e in quiet(watcher, fs.SLOWNESS) if isinstance(e, PidsRefused)}
    assert refused <= {groups[7].path, groups[13].path}


def test_nothing_is_kept_of_groups_that_are_gone(host, parent, watcher):
    """Those above them stay as long as others below are watched."""
    groups = [host.group(f"{parent.path}/{n}") for n in range(3)]
    for one in groups:
        one.create()
        watcher.add(one)
    hits = watcher._hits
    others = len(hits) - len(groups)
    for left, one in enumerate(reversed(groups)):
        watcher.remove(one)
        one.remove()
        there = len(groups) - left - 1
        assert len(hits) == (there + others if there else 0)
