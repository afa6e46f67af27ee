"""Kills on v1, where alarms and counts are all there is, in any order that a busy machine has."""

import os
import select

import pytest

from cgagent.cgroups import Host, Oom, Watcher, watcher

MOUNT = "sys/fs/cgroup/memory"
TREE = {
    "proc/self/mountinfo": f"46 43 0:35 / /{MOUNT} rw - cgroup cgroup rw,memory,pids\n",
    "proc/self/cgroup": "3:memory,pids:/\n",
}


class Memory:
    """A v1 group of plain files. Its alarm is the eventfd that it was told of."""

    def __init__(self, root):
        for name, text in TREE.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        self.directory = root / MOUNT / "one"
        self.directory.mkdir(parents=True)
        (self.directory / "cgroup.event_control").touch()
        self.refuse_forks(0)
        (self.directory / "memory.limit_in_bytes").write_text("4096\n")
        self.count(0)
        self.group = Host.detect(str(root)).group("/one")

    def count(self, kills):
        text = f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
        (self.directory / "memory.oom_control").write_text(text)

    def refuse_forks(self, count):
        (self.directory / "pids.events").write_text(f"max {count}\n")

    def ring(self):
        descriptor, *_ = (self.directory / "cgroup.event_control").read_text().split()
        os.eventfd_write(int(descriptor), 1)


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setattr("cgagent.cgroups.watcher.reclaim_alarm", lambda _: None)
    return Memory(tmp_path)


def ooms(found):
    return [(one.limiting_group, one.victims) for one in found if isinstance(one, Oom)]


def test_a_kill_whose_alarm_rings_while_the_counts_are_read_is_put_down_to_it(memory, monkeypatch):
    """A reading that began because of something else."""
    with Watcher() as watching:
        watching.add(memory.group)
        look = watcher._Watched.look

        def late(watched):
            memory.ring()
            memory.count(1)
            return look(watched)

        monkeypatch.setattr(watcher._Watched, "look", late)
        memory.refuse_forks(1)
        assert ooms(watching.read()) == [("/one", 1)]


def test_a_second_kill_of_one_alarm_is_told_without_another_word(memory):
    with Watcher() as watching:
        watching.add(memory.group)
        memory.ring()
        memory.count(1)
        assert ooms(watching.read()) == [("/one", 1)]
        memory.count(2)
        assert select.select([watching.fileno()], [], [], 10)[0]
        assert ooms(watching.read()) == [("/one", 1)]
