"""Making, joining, freezing, killing, removing."""

import contextlib
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cgagent.cgroups import Limits
from cgagent.errors import ConflictError, DeadlineError, InvalidInputError, NotFoundError

pytestmark = pytest.mark.system


def test_create_makes_every_hierarchy_and_remove_leaves_none(host, parent):
    group = host.group(f"{parent.path}/a/b")
    assert not group.exists()
    group.create()
    directories = [group.unified_dir(), *map(os.path.dirname, group.join_files())]
    assert all(os.path.isdir(path) for path in directories if path)
    group.create()
    parent.remove()
    assert not parent.exists()
    assert not group.exists()
    parent.remove()


def test_only_an_empty_group_is_removed_at_once(fs, host, parent):
    group = host.group(f"{parent.path}/busy")
    assert group.remove_if_empty(), "one that is not there is gone"
    group.create()
    with fs.running(group, "true"):
        assert not group.remove_if_empty()
        assert group.pids()
    below = host.group(f"{group.path}/below")
    below.create()
    assert not group.remove_if_empty()
    assert below.exists()
    assert below.remove_if_empty()
    assert not below.exists()
    group.remove()


def test_limits_of_a_new_group(host, parent):
    group = host.group(f"{parent.path}/new")
    group.create()
    group.apply(Limits(memory_max_bytes=64 << 20, cpu_quota_us=50_000, pids_max=7), new=True)
    held = group.held()
    assert (held.memory_max_bytes, held.cpu_quota_us, held.pids_max) == (64 << 20, 50_000, 7)
    with pytest.raises(InvalidInputError, match=r"limit cpu_quota_us: .* refuses '1( 100000)?'"):
        group.apply(Limits(cpu_quota_us=1), new=True)
    group.remove()
    with pytest.raises(NotFoundError):
        group.apply(Limits(pids_max=7), new=True)


def test_create_removes_what_it_made_when_it_fails(fs, host, parent):
    parent.create()
    group = host.group(f"{parent.path}/{'x' * 255}")
    group.create()
    deep = host.group(f"{group.path}/y")
    # One hierarchy has a limit on depth or children: here a limit on cgroup2's descendants.
    unified = parent.unified_dir()
    if not unified:
        pytest.skip("no cgroup2")
    with open(f"{unified}/cgroup.max.depth", "w") as file:
        file.write("2")
    with pytest.raises(Exception, match="cannot be made"):
        host.group(f"{deep.path}/z").create()
    assert not deep.exists()
    assert group.exists()


def test_a_process_joins_every_hierarchy(fs, group):
    with fs.running(group, "exec sleep 1000") as process:
        assert group.pids() == [process.pid]
        with open(f"/proc/{process.pid}/cgroup") as file:
            paths = [line.strip().split(":", 2) for line in file]
    inside = {names for _, names, path in paths if path.endswith(group.path)}
    used = {name for name, place in group.host.placements.items() if place.version == 1}
    v1 = {"blkio" if name == "io" else name for name in used} & {
        "cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "devices"
    }  # fmt: skip
    assert v1 <= {name for names in inside for name in names.split(",")}
    if group.host.unified:
        assert "" in inside


def test_joining_with_a_zero(group):
    """What a child does for itself: "0" into each v1 file, a clone into cgroup2."""
    files = [
        *group.join_files(),
        *([f"{group.unified_dir()}/cgroup.procs"] if group.unified_dir() else []),
    ]
    script = "".join(f"echo 0 >{path}; " for path in files)
    with subprocess.Popen(["sh", "-c", f"{script} echo; read go"], stdin=-1, stdout=-1) as process:
        process.stdout.readline()
        assert group.pids() == [process.pid]
        process.stdin.close()


def test_joining_a_process_that_is_not_there(group):
    with pytest.raises(NotFoundError, match="no such process"):
        group.join(2**22 - 1)


def test_a_frozen_group_does_nothing_until_thawed(fs, group):
    with fs.running(group, "while :; do i=$((i+1)); done") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert group.freezer_state() == "thawed"
        assert group.usage().frozen is False
        group.freeze(10 * fs.SLOWNESS)
        assert group.freezer_state() == "frozen"
        assert group.usage().frozen is True
        before = ticks(process.pid)
        time.sleep(0.2)
        assert ticks(process.pid) == before
        group.freeze(10 * fs.SLOWNESS)
        group.thaw(10 * fs.SLOWNESS)
        assert group.freezer_state() == "thawed"
        deadline = time.monotonic() + 10 * fs.SLOWNESS
        while ticks(process.pid) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ticks(process.pid) > before


def ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_an_empty_group_freezes_too(fs, group):
    group.freeze(10 * fs.SLOWNESS)
    assert group.freezer_state() == "frozen"
    group.thaw(10 * fs.SLOWNESS)
    assert group.freezer_state() == "thawed"


def test_a_child_of_a_frozen_group_cannot_be_thawed(fs, parent, group):
    with fs.running(group, "exec sleep 1000"):
        parent.freeze(10 * fs.SLOWNESS)
        assert group.freezer_state() == "frozen"
        with pytest.raises(DeadlineError, match="above"):
            group.thaw(0.1)
        parent.thaw(10 * fs.SLOWNESS)
        assert group.freezer_state() == "thawed"


def test_whose_freeze_it_is(fs, host, parent, group):
    below = host.group(f"{group.path}/below")
    below.create()
    with fs.running(below, "exec sleep 1000"):
        assert below.frozen_by() is None
        parent.freeze(10 * fs.SLOWNESS)
        assert (parent.frozen_by(), group.frozen_by(), below.frozen_by()) == (
            "self",
            "ancestor",
            "ancestor",
        )
        group.freeze(10 * fs.SLOWNESS)
        assert group.frozen_by() == "self"
        parent.thaw(10 * fs.SLOWNESS)
        assert (parent.frozen_by(), group.frozen_by(), below.frozen_by()) == (
            None,
            "self",
            "ancestor",
        )
        assert below.freezer_state() == "frozen"
        assert below.usage().frozen is True
        group.thaw(10 * fs.SLOWNESS)
        assert below.frozen_by() is None
        assert below.freezer_state() == "thawed"


def test_the_time_frozen_is_counted_where_the_kernel_does(fs, group):
    if group.usage().frozen_ns is None:
        pytest.skip("before Linux 6.18")
    with fs.running(group, "exec sleep 1000"):
        group.freeze(10 * fs.SLOWNESS)
        time.sleep(0.2)
        group.thaw(10 * fs.SLOWNESS)
        assert 0.2e9 <= group.usage().frozen_ns < 10e9 * fs.SLOWNESS


def test_a_task_in_uninterruptible_sleep_leaves_nothing_frozen(fs, group, tmp_path):
    with (
        fs.hanging_file_system(tmp_path),
        fs.running(group, f"exec stat {tmp_path}/x") as stuck,
        fs.running(group, "while :; do :; done") as other,
    ):
        for process in (stuck, other):
            process.stdin.write(b"\n")
            process.stdin.flush()
        wait_for(lambda: is_stuck(stuck.pid, fs.SLOWNESS), fs.SLOWNESS)
        with pytest.raises(DeadlineError, match="did not freeze in time; it was thawed again"):
            group.freeze(0.5 * fs.SLOWNESS)
        assert group.freezer_state() == "thawed"
        assert group.frozen_by() is None
        assert group.usage().frozen is False
        before = ticks(other.pid)
        wait_for(lambda: ticks(other.pid) > before, fs.SLOWNESS)
        group.kill(20 * fs.SLOWNESS)
        assert (stuck.wait(), other.wait()) == (-9, -9)


def test_a_freeze_ends_when_it_is_taken_back(fs, group, tmp_path):
    with (
        fs.hanging_file_system(tmp_path),
        fs.running(group, f"exec stat {tmp_path}/x") as stuck,
        ThreadPoolExecutor(1) as pool,
    ):
        stuck.stdin.write(b"\n")
        stuck.stdin.flush()
        wait_for(lambda: is_stuck(stuck.pid, fs.SLOWNESS), fs.SLOWNESS)
        freezing = pool.submit(group.freeze, 1000)
        wait_for(lambda: group.freezer_state() == "freezing", fs.SLOWNESS)
        group.thaw(10 * fs.SLOWNESS)
        with pytest.raises(ConflictError, match="it was thawed, or its tasks ended, while"):
            freezing.result(30 * fs.SLOWNESS)
        assert group.freezer_state() == "thawed"
        group.kill(20 * fs.SLOWNESS)
        assert stuck.wait() == -9


def is_stuck(pid, slowness):
    """In uninterruptible sleep for a while: not only for the disk, on its way to where it hangs."""
    for _ in range(10):
        if state_of(pid) != "D":
            return False
        time.sleep(0.03 * slowness)
    return True


def state_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_kill_ends_a_tree_of_processes_and_their_groups(fs, host, group):
    below = host.group(f"{group.path}/below")
    below.create()
    with fs.running(below, "sleep 1000 & sleep 1000 & exec sleep 1000") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_for(lambda: len(group.pids()) == 3, fs.SLOWNESS)
        with pytest.raises(ConflictError, match="processes are in it"):
            group.remove(0)
        group.kill(10 * fs.SLOWNESS)
        assert group.pids() == []
        assert process.wait() == -9
    group.remove()
    assert not group.exists()


def test_kill_ends_a_frozen_group(fs, group):
    with fs.running(group, "exec sleep 1000") as process:
        group.freeze(10 * fs.SLOWNESS)
        group.kill(10 * fs.SLOWNESS)
        assert process.wait() == -9


def test_kill_ends_a_fork_bomb(fs, group):
    with fs.running(group, "f() { while :; do sleep 0.01 & done; }; f & f") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_for(lambda: len(group.pids()) > 10, fs.SLOWNESS)
        group.kill(20 * fs.SLOWNESS)
        assert group.pids() == []


BOMB = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"


def test_a_fork_bomb_under_a_pids_limit_is_gone_in_two_seconds(fs, group):
    group.apply(Limits(pids_max=300))
    with fs.running(group, f"exec python3 -S -E -c '{BOMB}'") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_for(lambda: group.usage().pids.current == 300, 3 * fs.SLOWNESS)
        began = time.monotonic()
        group.kill(20 * fs.SLOWNESS)
        assert time.monotonic() - began < 2 * fs.SLOWNESS
        assert group.pids() == []


FIVE_HUNDRED = """\
import os, signal
for _ in range(499):
    if not os.fork():
        signal.pause()
signal.pause()
"""


def test_a_tree_of_a_thousand_tasks_leaves_none(fs, host, group):
    left, right = (host.group(f"{group.path}/{name}") for name in ("left", "right"))
    left.create()
    right.create()
    code = (
        "import os, signal\nfor _ in range(499):\n if not os.fork(): signal.pause()\nsignal.pause()"
    )
    script = f"exec python3 -S -E -c '{code}'"
    with fs.running(left, script) as one, fs.running(right, script) as two:
        for process in (one, two):
            process.stdin.write(b"\n")
            process.stdin.flush()
        wait_for(lambda: len(group.pids()) >= 1000, 6 * fs.SLOWNESS)
        group.kill(30 * fs.SLOWNESS)
        assert group.pids() == []


def test_kill_without_cgroup2(fs, group):
    """The way of a plain v1 host: freeze, signal, thaw, again."""
    if not group.join_files():
        pytest.skip("no v1 hierarchy")
    place = group.host.placements.get("freezer")
    v1 = type(group.host)({n: p for n, p in group.host.placements.items() if p.version == 1}, None)
    assert v1.layout == "v1"
    alone = v1.group(f"{group.path}/v1")
    alone.create()
    assert place
    alone.apply(Limits(pids_max=300))
    with fs.running(alone, f"exec python3 -S -E -c '{BOMB}'") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_for(lambda: alone.usage().pids.current == 300, 3 * fs.SLOWNESS)
        alone.freeze(10 * fs.SLOWNESS)
        assert alone.freezer_state() == "frozen"
        alone.thaw(10 * fs.SLOWNESS)
        assert alone.frozen_by() is None
        began = time.monotonic()
        alone.kill(20 * fs.SLOWNESS)
        assert time.monotonic() - began < 2 * fs.SLOWNESS
        assert alone.pids() == []
        assert process.wait() == -9
    alone.remove()


def test_the_root_group_is_left_alone(host):
    root = host.group("/")
    for use in (root.create, root.remove, root.kill):
        with pytest.raises(InvalidInputError, match="root group"):
            use()


def wait_for(condition, slowness):
    deadline = time.monotonic() + 10 * slowness
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_another_freezer_holds_is_not_killed_and_that_is_said(fs, group):
    own = group.controllers().freezer
    if own is None or os.path.isdir(own):
        pytest.skip("no freezer but the one that is used here")
    foreign = Path(f"{own}-foreign")
    foreign.mkdir(parents=True)
    try:
        with fs.running(group, "sleep 1000") as process:
            (foreign / "cgroup.procs").write_text(str(process.pid))
            (foreign / "freezer.state").write_text("FROZEN")
            with pytest.raises(DeadlineError, match=f"held by the freezer of {foreign}"):
                group.kill(0.5 * fs.SLOWNESS)
            (foreign / "freezer.state").write_text("THAWED")
            group.kill(10 * fs.SLOWNESS)
    finally:
        (foreign / "freezer.state").write_text("THAWED")
        for directory in (foreign, foreign.parent):
            with contextlib.suppress(OSError):
                directory.rmdir()


def test_groups_below_are_listed_while_they_come_and_go(host, parent):
    top = host.group(f"{parent.path}/busy")
    assert top.children() == ()
    is_over = threading.Event()

    def come_and_go():
        while not is_over.is_set():
            top.create()
            host.group(f"{top.path}/below").create()
            top.remove(20)

    with ThreadPoolExecutor(1) as pool:
        churn = pool.submit(come_and_go)
        try:
            for _ in range(200):
                assert set(top.children()) <= {"below"}
        finally:
            is_over.set()
        churn.result()
