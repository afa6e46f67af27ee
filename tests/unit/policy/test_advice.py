"""Histograms that decay, peaks that are foreseen or not, and the limits that follow."""

import json

import pytest

from cgagent.cgroups import UNLIMITED, IoMax, Limits
from cgagent.policy.advice.advising import advice, command
from cgagent.policy.advice.histogram import HALF_LIFE_S, Histogram
from cgagent.policy.advice.peaks import WINDOW_S, WINDOWS, Peaks
from cgagent.policy.advice.use import ContainerUse, Use

MIB = 1 << 20
NOW_S = 1_764_000_000.0


def again(kind, value):
    """What comes of it over the database."""
    return kind.from_json(json.loads(json.dumps(value.to_json())))


def test_a_sample_counts_half_after_a_day():
    one = Histogram(1.0)
    one.add(100.0, NOW_S)
    assert one.percentile(0.5) == pytest.approx(100, rel=0.05)
    one.add(10.0, NOW_S + HALF_LIFE_S, weight=0.6)
    assert one.percentile(0.5) == pytest.approx(10, rel=0.05)
    assert one.percentile(0.6) == pytest.approx(100, rel=0.05)
    for read in (one, again(Histogram, one)):
        assert read.percentile(0.5) == one.percentile(0.5)
    one.add(3.0, NOW_S + 100 * HALF_LIFE_S)
    assert one.percentile(1.0) == pytest.approx(3, rel=0.05)
    one.add(2.0, NOW_S - 5)  # the clock was set back
    assert one.percentile(0.0) == pytest.approx(2, rel=0.05)


def test_buckets_grow_by_a_twentieth():
    one = Histogram(1.0)
    assert (one.percentile(0.5), one.is_empty) == (None, True)
    for value in (0.0, 0.5, 1.0):
        one.add(value, NOW_S)
    assert one.percentile(1.0) == 1.0
    for value in (1.05, 1.06, 7e9):
        other = Histogram(1.0)
        other.add(value, NOW_S)
        assert value * 0.9999 <= other.percentile(1.0) < value * 1.0501


def test_peaks_of_a_week_and_what_was_unforeseen():
    one = Peaks()
    assert one.most is None
    for window, peak in enumerate((100.0, 90.0, 110.0, 95.0)):
        one.add(peak / 2, window * WINDOW_S)
        one.add(peak, window * WINDOW_S + 60)
    assert (one.most, one.windows, one.excess) == (110.0, 4, pytest.approx(0.1))
    for read in (one, again(Peaks, one)):
        read.add(50.0, (3 + WINDOWS) * WINDOW_S)  # it was away for a week
        assert (read.most, read.excess) == (50.0, 0.0)
    one.add(60.0, 0.0)  # the clock was set back
    assert one.most == 60.0


def test_a_margin_is_learned():
    steady, rising = Use(1.0), Use(1.0)
    for window in range(8):
        steady.add(100.0, window * WINDOW_S)
        rising.add(100.0 * 1.1**window, window * WINDOW_S)
        if window == 2:
            assert steady.advised() == pytest.approx(115)
    assert steady.advised() == pytest.approx(103)
    assert rising.margin == pytest.approx(0.15)
    steady.oom(100.0 * MIB, 8 * WINDOW_S)
    assert steady.advised() >= 120 * MIB


def test_in_the_first_hour_nothing_is_lowered():
    use = ContainerUse()
    use.memory.add(100.0 * MIB, NOW_S)
    use.sampled(NOW_S)
    (memory, tasks) = advice(use, Limits(memory_max_bytes=512 * MIB), None)
    assert (memory.advised, memory.flags) == (512 * MIB, ("--memory", "512m"))
    assert (memory.p50, tasks.p50) == (100 * MIB, None)
    assert advice(use, Limits(), None)[0].advised == 230 * MIB


def test_limits_with_their_flags():
    use = ContainerUse()
    assert advice(use, Limits(), None) == []
    for minute in range(600):
        at_s = NOW_S + 60 * minute
        use.memory.add(100.0 * MIB, at_s)
        use.cpus.add(0.2, at_s)
        use.pids.add(7, at_s)
        use.reads.add(4.0 * MIB, at_s)
        use.writes.add(0.0, at_s)
        use.sampled(at_s)
    use.device = "8:0"
    asked = Limits(
        memory_max_bytes=512 * MIB,
        cpu_quota_us=50_000,
        cpu_period_us=100_000,
        pids_max=UNLIMITED,
        io_max=(IoMax(major=8, minor=0, rbps=50 * MIB),),
    )
    for kept in (use, again(ContainerUse, use)):
        found = {one.resource: one for one in advice(kept, asked, "/dev/sda")}
        assert list(found) == ["memory", "cpus", "pids", "reads"]
        asked_for = [one.asked for one in found.values()]
        assert asked_for == [512 * MIB, 0.5, None, 50 * MIB]
        assert found["memory"].advised == 115 * MIB
        assert found["memory"].most == 100 * MIB
        assert found["memory"].confidence == pytest.approx(0.06)
        assert found["cpus"].p95 == pytest.approx(0.2, rel=0.05)
        assert command(("update",), "web", list(found.values())) == (
            "cgagent update --memory 115m --cpus 0.25 --pids-limit 16 "
            "--device-read-bps /dev/sda:6m web"
        )
        assert all(one.why for one in found.values())
    assert command(("update",), "web", []) == ""
