"""Processes of ours that wait for a job are in a container's namespaces, and out of reach."""

import os
from pathlib import Path

import pytest

from tests.world.agent import eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def waiting(agent):
    """Its pid."""
    eventually(agent.pool_is_full)
    supervisor = agent.supervisor_pid
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    namespace = os.readlink("/proc/self/ns/pid")
    return next(c for c in children if os.readlink(f"/proc/{c}/ns/pid") != namespace)


def test_cve_2019_5736_the_interpreter_is_read_only(agent, waiting):
    """With every capability it could not be written to."""
    for pid in (waiting, agent.supervisor_pid, agent.keeper_pid):
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY


def test_cve_2019_5736_nothing_of_it_can_be_reached(waiting, oci):
    """Root in its pid namespace, with a container's capabilities."""
    config = oci.sh("for f in exe root cwd fd/0; do readlink /proc/1/$f || echo none; done")
    kept = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
    joined = {"type": "pid", "path": f"/proc/{waiting}/ns/pid"}
    config["linux"]["namespaces"] = [*kept, joined]
    assert oci.output(config).split() == ["none"] * 4
