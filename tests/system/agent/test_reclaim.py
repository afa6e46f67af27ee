"""``--reclaim auto``: page cache that nobody needs is taken back, and that is shown."""

import pytest

from tests.world.agent import eventually, has_v1

pytestmark = pytest.mark.system

CACHE = ("sh", "-c", "dd if=/dev/zero of=/cold bs=1M count=64; sync; sleep 1000")


def reclaim(agent, container):
    return agent.client.request("GET", f"/v1/containers/{container}/stats")["reclaim"]


def test_what_is_not_needed_is_taken_back(agent, container):
    one = container(*CACHE, reclaim="auto")
    assert agent.detail(one)["config"]["reclaim"] == "auto:psi=0.1%"
    view = eventually(lambda: reclaim(agent, one))
    assert view["mode"] == "auto:psi=0.1%"
    if has_v1("memory"):  # where small steps are saved up for a minute
        due = "less is due than the kernel takes in a step"
        eventually(lambda: reclaim(agent, one)["reason"] == due, timeout_s=30)
    else:
        eventually(lambda: reclaim(agent, one)["reclaimed_bytes"] > 0, timeout_s=60)
        assert reclaim(agent, one)["step_ratio"] > 0.0005
    agent.post(one, "update", {"reclaim": "off"})
    eventually(lambda: reclaim(agent, one) is None)
    assert agent.detail(one)["config"]["reclaim"] == ""


@pytest.mark.native
def test_by_command_line(agent, container):
    done = agent.cli("run", "-d", "--reclaim", "auto:psi=0.5", "alpine", "sleep", "1000")
    one = done.stdout.strip()
    try:
        assert agent.detail(one)["config"]["reclaim"] == "auto:psi=0.5%"
        assert agent.cli("update", "--reclaim", "off", one).returncode == 0
        assert agent.detail(one)["config"]["reclaim"] == ""
        wrong = agent.cli("update", "--reclaim", "a lot", one)
        assert "reclaim 'a lot' is neither off nor auto" in wrong.stderr
    finally:
        agent.remove(one)
