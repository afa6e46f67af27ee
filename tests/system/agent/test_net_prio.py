"""The priority of containers with the host's network, where cgroup v1 has net_prio."""

import pytest

from tests.world.agent import group_file, has_v1

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not has_v1("net_prio"), reason="net_prio is not mounted"),
]


def priorities(agent, container):
    path = agent.detail(container)["cgroup_path"]
    text = group_file(path, "net_prio", "net_prio.ifpriomap", "").read_text()
    return dict(line.rsplit(" ", 1) for line in text.splitlines())


def test_the_priority_of_a_container_with_the_hosts_network(agent, container):
    networks = [{"network": "host"}]
    one = container("sleep", "1000", networks=networks, limits={"net_priority": 5})
    assert set(priorities(agent, one).values()) == {"5"}
    assert agent.detail(one)["limits_held"]["net_priority"] == 5
    assert agent.detail(one)["drift"] == []
    done = agent.cli("update", "--net-priority", "0", one)
    assert done.returncode == 0, done.stderr
    assert set(priorities(agent, one).values()) == {"0"}
    other = container("sleep", "1000", networks=networks)
    assert set(priorities(agent, other).values()) == {"0"}
