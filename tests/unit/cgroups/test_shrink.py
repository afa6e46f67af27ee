"""Whether a shrink goes on, by what the group's tasks wait for it; over plain files."""

from pathlib import Path

import pytest

from cgagent.cgroups import Limits, files, shrink
from cgagent.cgroups.memory import MemoryV2
from cgagent.errors import ConflictError

MIB = 2**20
TARGET = Limits(memory_max_bytes=16 * MIB)


class Clock:
    """In the place of `time`: it goes on by what is slept."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class Yielding(MemoryV2):
    """Gives back 4 MiB at each step, its tasks waiting for so much of the time."""

    def __init__(self, directory, share, clock):
        super().__init__(str(directory))
        self._current = directory / "memory.current"
        self._pressure = directory / "memory.pressure"
        self._share = share
        self._clock = clock
        self._began_s = clock.now_s
        self.brakes = []
        self._current.write_text(f"{200 * MIB}\n")
        (directory / "memory.high").write_text("max\n")
        self._stall()

    def reclaim_towards(self, target, step):
        super().reclaim_towards(target, step)
        with open(self.brake) as file:
            self.brakes.append(int(file.read()))
        self._current.write_text(f"{max(self.current_bytes() - 4 * MIB, 12 * MIB)}\n")
        self._clock.sleep(0.01)
        self._stall()

    def _stall(self):
        if self._share is not None:
            total = int((self._clock.now_s - self._began_s) * self._share * 1e6)
            line = f"avg10=0.00 avg60=0.00 avg300=0.00 total={total}"
            self._pressure.write_text(f"some {line}\nfull {line}\n")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """And files like the kernel's."""
    found = Clock()
    monkeypatch.setattr(shrink, "time", found)
    # A write replaces the whole text, which in a plain file it does not.
    monkeypatch.setattr(files, "write", lambda path, value: Path(path).write_text(value))
    return found


def high(tree):
    return (tree / "memory.high").read_text().strip()


def test_it_is_given_up_where_all_tasks_stand_still(tmp_path, clock):
    memory = Yielding(tmp_path, 0.9, clock)
    with (
        pytest.raises(ConflictError, match=r"stalled for want of memory, [6-9]\d% .*--force"),
        shrink.room_for(memory, str(tmp_path), TARGET, 10),
    ):
        pytest.fail("the limit would have been written")
    assert high(tmp_path) == "max"


def test_it_is_watched_for_a_window_where_tasks_wait_at_all(tmp_path, clock):
    began_s = clock.now_s
    with shrink.room_for(Yielding(tmp_path, 0.3, clock), str(tmp_path), TARGET, 10):
        assert clock.now_s - began_s >= 1
        assert int(high(tmp_path)) < 16 * MIB
    assert high(tmp_path) == "max"


@pytest.mark.parametrize("share", [0, None])
def test_nobody_waits(tmp_path, clock, share):
    """Without pressure information (None) too."""
    memory = Yielding(tmp_path, share, clock)
    with shrink.room_for(memory, str(tmp_path), TARGET, 10):
        pass
    assert memory.brakes[0] > 100 * MIB
    assert memory.brakes == sorted(memory.brakes, reverse=True)
    assert memory.brakes[-1] < 16 * MIB
    assert high(tmp_path) == "max"


def test_a_tighter_brake_of_before_is_not_loosened(tmp_path, clock):
    memory = Yielding(tmp_path, 0, clock)
    (tmp_path / "memory.high").write_text(f"{30 * MIB}\n")
    with shrink.room_for(memory, str(tmp_path), TARGET, 10):
        pass
    assert max(memory.brakes) == 30 * MIB
    assert high(tmp_path) == str(30 * MIB)
