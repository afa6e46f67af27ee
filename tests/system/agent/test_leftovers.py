"""After many containers nothing is left of them, on the machine or in the agent."""

import os
import time
from pathlib import Path

import pytest

from tests.world.agent import KEPT_MOST, SLOWNESS, eventually

pytestmark = pytest.mark.system

ROUNDS = 5 if SLOWNESS > 1 else 30


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled(*pids):
    """How many each has when no more are being opened: a group's watch comes after its process."""
    seen = []

    def again():
        time.sleep(0.3)
        seen.append({pid: descriptors(pid) for pid in pids})
        return len(seen) > 1 and seen[-1] == seen[-2] and seen[-1]

    return eventually(again)


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_nothing_is_left_of_many_containers(agent, audited):
    agent.run("true")  # what is made once is made: log files, kept connections
    agent.remove(agent.create("true"))  # and what is kept ready for both kinds of containers
    supervisor = agent.supervisor_pid
    eventually(lambda: agent.pool_is_full() and len(children(supervisor)) == KEPT_MOST)
    before = settled(agent.pid, supervisor)
    for number in range(ROUNDS):
        one = agent.create("sh", "-c", "echo x >/file; exec sleep 1000")
        agent.post(one, "start")
        if number % 3 == 0:
            agent.exec(one, "true")
        agent.remove(one)
    assert agent.containers() == []
    assert os.listdir(agent.data_root / "containers") == []
    for folder in ("ahead", "containers-rw"):
        eventually(lambda f=agent.data_root / folder: len(os.listdir(f)) <= KEPT_MOST)
    eventually(agent.cgroups_settled)
    # one more than before may be a connection that is just being closed
    eventually(lambda: all(descriptors(pid) <= count + 1 for pid, count in before.items()))
    eventually(lambda: len(children(supervisor)) <= KEPT_MOST)
    assert [line for line in audited() if str(agent.data_root) in line] == []


def test_nothing_is_left_of_containers_that_run_and_end(agent):
    for _ in range(ROUNDS):
        assert agent.run("sh", "-c", "exit 7").exit_code == 7
    assert agent.containers() == []
    eventually(agent.cgroups_settled)


def test_what_daemonises_inside_ends_with_the_first_process(agent):
    one = agent.launch("sh", "-c", "sleep 1000 & sleep 0.5")
    path = agent.detail(one)["cgroup_path"]
    assert agent.wait(one) == 0
    eventually(lambda: path.rsplit("/", 1)[-1] not in agent.cgroups())
    agent.remove(one)


def test_created_and_never_started(agent):
    """A few groups and processes are kept ready for them, not one each."""
    made = [agent.create("true") for _ in range(ROUNDS)]
    assert len(agent.cgroups()) <= 20
    for one in made:
        agent.remove(one)
    eventually(agent.cgroups_settled)
