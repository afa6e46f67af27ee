"""Processes of ours that wait for a job are in a container's namespaces, and out of reach."""

import os
from pathlib import Path

import pytest

from tests.world.agent import eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def waiting(agent):
    """The pids of those there are."""
    own = os.readlink("/proc/self/ns/pid")

    def find():
        supervisor = agent.supervisor_pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [
            pid
            for pid in children
            if os.readlink(f"/proc/{pid}/ns/pid") != own
            and b"supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    eventually(find)
    return find()


def test_cve_2019_5736_the_interpreter_is_read_only(agent, waiting):
    """With every capability it could not be written to."""
    for pid in (*waiting, agent.supervisor_pid, agent.keeper_pid):
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY


def test_cve_2019_5736_one_that_has_given_up_its_power_cannot_be_reached(agent, container):
    """Just before a command becomes one it has as little as those inside who look at it.

    It takes long to find in so many directories.
    """
    script = "while :; do for p in /proc/[0-9]*; do readlink $p/exe; done | grep -v busybox; done"
    box = container("sh", "-c", script)
    path = "PATH=" + "x:" * 60_000 + "/bin"
    assert agent.exec(box, "true", env=[path]).exit_code == 0
    assert agent.log_text(box) == ""
