"""The sampler over a recorded cgroup v2 tree of plain files."""

import dataclasses
import shutil
import threading
import time

import pytest

from cgagent.cgroups import UNLIMITED, Host
from cgagent.errors import NotFoundError
from cgagent.metrics import Sampler, Target
from cgagent.metrics import sampler as sampler_module
from cgagent.metrics.network import Interface

TARGET = Target("0123", "web", "nginx", "/cgagent/0123", 1000.0)
FILES = {
    "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\n",
    "memory.current": "4096\n",
    "memory.max": "max\n",
    "io.stat": "999:1 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
    "pids.current": "3\n",
    "cgroup.procs": "11\n12\n",
    "cgroup.events": "populated 1\nfrozen 0\n",
}


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    mount = tmp_path / "sys/fs/cgroup"
    mount.mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("35 24 0:30 / /sys/fs/cgroup rw - cgroup2 c rw\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (mount / "cgroup.controllers").write_text("cpu io memory pids\n")
    return tmp_path


@pytest.fixture
def group(tree):
    path = tree / "sys/fs/cgroup/cgagent/0123"
    path.mkdir(parents=True)
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


@pytest.fixture
def sampler(tree):
    made = []

    def make(targets, interval_s=0.01):
        made.append(Sampler(Host.detect(str(tree)), interval_s, targets))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_time_frozen_is_counted_where_the_kernel_does_not(sampler, group, leap):
    """And usage in which nothing is new is the same object: nothing is made anew of it."""
    made = sampler(lambda: [TARGET])
    made.tick()
    first = made.latest("0123").usage
    assert first.frozen_ns == 0
    made.tick()
    assert made.latest("0123").usage is first
    (group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    made.tick()
    leap(0.01)
    made.tick()
    counted_ns = made.latest("0123").usage.frozen_ns
    assert counted_ns >= 10_000_000
    (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    made.tick()
    thawed = made.latest("0123").usage
    assert thawed.frozen_ns > counted_ns
    made.tick()
    assert made.latest("0123").usage is thawed


def test_a_tick_samples_every_target(sampler, group, leap):
    made = sampler(lambda: [TARGET])
    assert made.latest("0123") is None
    made.tick()
    sample = made.latest("0123")
    assert sample.target is TARGET
    assert sample.usage.cpu.usage_ns == 7000
    assert sample.usage.pids.processes == 2
    assert sample.limits.memory_max_bytes is UNLIMITED
    assert made.live() == [sample]
    assert made.rates("0123") is None
    leap(0.1)  # over less there are no rates
    made.tick()
    assert made.rates("0123").cpu_percent == 0
    assert [row.pids for _, row in made.history("0123").rows] == [3, 3]
    assert made.latest("0123").monotonic_ns > sample.monotonic_ns
    assert made.machine().memory_total_bytes > 0
    assert made.state().ticks == 2
    assert made.device_name("999:1") == "999:1"


def test_what_changes_slowly_is_read_at_every_third_round(sampler, group, tree):
    made = Sampler(Host.detect(str(tree)), 1.0, lambda: [TARGET], full_interval_s=3.0)
    seen = []
    for round_ in range(5):
        (group / "cpu.stat").write_text(f"usage_usec {round_}\n")
        (group / "pids.peak").write_text(f"{round_}\n")
        made.tick()
        usage = made.latest("0123").usage
        seen.append((usage.cpu.usage_ns // 1000, usage.pids.peak))
    assert seen == [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3)]
    made.stop()


@pytest.mark.parametrize(
    ("of_the_time", "expected"),
    [(1.0, [0, 1, 1, 3, 3]), (1e-9, [0, 0, 0, 0, 0])],
)
def test_a_group_above_others_is_read_slowly_and_not_below_itself(
    group, tree, monkeypatch, of_the_time, expected
):
    """Not even that where it takes more of the time than it may."""
    monkeypatch.setattr(sampler_module, "_BUSY_ABOVE", of_the_time)
    above = dataclasses.replace(TARGET, id="above", cgroup_path="/cgagent", is_above=True)
    (group.parent / "cpu.stat").write_text("usage_usec 1\n")
    (group.parent / "cgroup.procs").write_text("7\n")
    made = Sampler(Host.detect(str(tree)), 1.0, lambda: [TARGET, above], full_interval_s=2.0)
    seen = []
    for round_ in range(5):
        (group.parent / "cpu.stat").write_text(f"usage_usec {round_}\n")
        made.tick()
        seen.append(made.latest("above").usage.cpu.usage_ns // 1000)
    assert seen == expected
    assert made.latest("above").usage.pids.processes is None
    made.stop()


def test_a_group_in_which_nothing_runs_is_left_alone(sampler, group, tree, leap):
    made = Sampler(Host.detect(str(tree)), 1.0, lambda: [TARGET], full_interval_s=2.0)
    seen = []
    for cpu in (1, 1, 1, 1, 2, 2, 2):
        (group / "cpu.stat").write_text(f"usage_usec {cpu}\n")
        (group / "pids.peak").write_text(f"{len(seen)}\n")
        leap(0.1)  # over less there are no rates, by which it rests
        made.tick()
        seen.append(made.latest("0123").usage.pids.peak)
    assert seen == [0, 0, 0, 0, 0, 0, 6]
    made.stop()


def test_rounds_at_rest_are_in_the_history_with_their_times(sampler, group, leap):
    made = sampler(lambda: [TARGET])
    for _ in range(5):
        made.tick()
        leap(0.1)
    latest, before = made.latest("0123"), made.before("0123")
    assert latest.at_s - before.at_s >= 0.1
    assert latest.monotonic_ns > before.monotonic_ns
    rows = made.history("0123").rows
    assert [row.pids for _, row in rows] == [3] * 5
    times = [at_s for at_s, _ in rows]
    assert times == sorted(times)
    assert times[-1] - times[0] > 0.3
    (group / "cpu.stat").write_text("usage_usec 100007\nuser_usec 4\nsystem_usec 3\n")
    made.tick()
    assert made.rates("0123").cpu_percent > 0
    assert len(made.history("0123").rows) == 6
    shutil.rmtree(group)
    made.tick()
    assert made.live() == []


def test_limits_of_a_group_at_rest_are_read_when_told_that_they_changed(sampler, group, leap):
    made = sampler(lambda: [TARGET])
    for _ in range(3):
        made.tick()
        leap(0.1)
    (group / "memory.max").write_text("8192\n")
    made.limits_changed("0123")
    made.tick()
    assert made.latest("0123").limits.memory_max_bytes == 8192


def test_what_was_written_once_is_no_rate_for_ever(tree, group, leap):
    made = Sampler(Host.detect(str(tree)), 1.0, lambda: [TARGET], full_interval_s=2.0)
    rates = []
    for wbytes in (2, 2, 9, 9, 9, 9, 9):
        (group / "io.stat").write_text(
            f"999:1 rbytes=1 wbytes={wbytes} rios=3 wios=4 dbytes=0 dios=0\n"
        )
        (group / "cpu.stat").write_text(f"usage_usec {wbytes}\n")
        made.tick()
        leap(0.1)
        rates.append(made.rates("0123"))
    written = [each.write_bytes_per_s for each in rates if each]
    assert any(written)
    assert written[-1] == 0
    made.stop()


def test_limits_are_kept_until_told_that_they_changed(sampler, group):
    made = sampler(lambda: [TARGET])
    made.tick()
    (group / "memory.max").write_text("8192\n")
    made.tick()
    assert made.latest("0123").limits.memory_max_bytes is UNLIMITED
    made.limits_changed("0123")
    made.tick()
    assert made.latest("0123").limits.memory_max_bytes == 8192


def test_an_exited_container_is_no_longer_live_but_kept_until_forgotten(sampler, group):
    targets = [TARGET]
    made = sampler(lambda: targets)
    made.tick()
    targets.clear()
    made.tick()
    assert made.live() == []
    assert made.latest("0123") is not None
    made.forget("0123")
    assert made.latest("0123") is None


def test_a_group_that_is_gone_is_no_failure(sampler, tree):
    made = sampler(lambda: [TARGET])
    made.tick()
    assert made.live() == []
    assert made.state().failures == 0
    with pytest.raises(NotFoundError):
        made.sample_now(TARGET)


def test_a_restarted_container_is_read_anew(sampler, group):
    targets = [TARGET]
    made = sampler(lambda: targets)
    made.tick()
    shutil.rmtree(group)
    group.mkdir()
    (group / "cpu.stat").write_text("usage_usec 1\n")
    targets[0] = dataclasses.replace(TARGET, started_at_s=2000.0)
    made.tick()
    assert made.latest("0123").usage.cpu.usage_ns == 1000
    assert made.latest("0123").target.started_at_s == 2000.0


def test_one_bad_group_does_not_keep_the_others_from_being_sampled(sampler, group, tree):
    bad = tree / "sys/fs/cgroup/cgagent/bad"
    bad.mkdir()
    (bad / "memory.current").write_text("what?\n")
    made = sampler(
        lambda: [dataclasses.replace(TARGET, id="bad", cgroup_path="/cgagent/bad"), TARGET]
    )
    made.tick()
    assert [sample.target.id for sample in made.live()] == ["0123"]
    assert made.state().failures == 1
    assert made.state().last_error.startswith("bad: ")
    assert made.state().failed
    (bad / "memory.current").write_text("4096\n")
    made.tick()
    assert not made.state().failed


def test_a_round_without_targets_for_an_error_has_failed(sampler):
    def targets():
        raise RuntimeError("not ready")

    made = sampler(targets)
    made.start()
    wait_for(lambda: made.state().failures)
    made.stop()
    assert made.state().failed


def test_the_thread_ticks_and_outlives_what_targets_raises(sampler, group):
    answers = iter([[TARGET], RuntimeError("not ready")])

    def targets():
        answer = next(answers, [TARGET])
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = sampler(targets)
    made.start()
    wait_for(lambda: made.state().ticks >= 5)
    made.stop()
    assert made.state().failures == 1
    assert "not ready" in made.state().last_error
    ticks = made.state().ticks
    time.sleep(0.05)
    assert made.state().ticks == ticks
    assert not [thread for thread in threading.enumerate() if thread.name == "sampler"]


def test_late_ticks_are_counted_and_not_made_up_for(sampler, group):
    def targets():
        time.sleep(0.055)
        return [TARGET]

    made = sampler(targets)
    began = time.monotonic()
    made.start()
    wait_for(lambda: made.state().ticks >= 4)
    made.stop()
    state = made.state()
    assert state.missed_ticks >= 4 * 5
    # Ticks and missed ticks together are the intervals that passed.
    assert state.ticks + state.missed_ticks <= (time.monotonic() - began) / 0.01 + 2
    assert state.duration_s >= 0.055


def test_sampling_on_demand_from_other_threads(sampler, group):
    made = sampler(lambda: [TARGET])
    made.start()
    samples = []
    threads = [
        threading.Thread(target=lambda: samples.extend(made.sample_now(TARGET) for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(samples) == 200
    assert all(sample.usage.cpu.usage_ns == 7000 for sample in samples)


def test_traffic_keeps_nothing_from_its_rest_that_sleeps(sampler, group, monkeypatch, leap):
    """What was received just before is told until it is over; a sleeper's is told at its turn."""
    received = [0]

    def interfaces(_pid):
        return (Interface("eth0", received[0], 0, 0, 0, 0, 0, 0, 0),)

    monkeypatch.setattr(sampler_module.network, "read", interfaces)
    target = dataclasses.replace(TARGET, pid=1)
    made = sampler(lambda: [target])
    made.tick()
    track = made._tracks["0123"]

    def again(more):
        received[0] += more
        leap(0.11)
        made.sample_now(target)
        return bool(made.rates("0123").receive_bytes_per_s), track.rests

    assert again(0) == (False, True)
    assert again(1000) == (True, True)
    assert again(0) == (False, True)
    track.rests = False  # something has run
    assert again(1000) == (True, False)
    assert again(0) == (False, True)
    assert [bool(row.receive_bytes_per_s) for _, row in made.history("0123").rows] == [
        *(False, False, True, False, True, False)
    ]
