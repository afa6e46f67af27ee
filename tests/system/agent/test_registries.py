"""Images from a registry, straight into a container."""

import pytest

from tests.world.agent import Agent, group_file

pytestmark = pytest.mark.system


@pytest.mark.native
def test_run_pulls_what_is_not_there(own_agent, registry):
    image = f"{registry.address}/library/alpine"
    done = own_agent.cli("run", "--rm", "--memory", "256m", image, "cat", "/etc/alpine-release")
    assert done.stdout.startswith("3.23")
    assert done.returncode == 0
    assert f"pulling {image}" in done.stderr
    again = own_agent.cli("run", "--rm", image, "true")
    assert (again.stderr, again.returncode) == ("", 0)
    pulled = own_agent.cli("pull", f"{image}:3.23")
    assert pulled.stdout.startswith("sha256:")
    missing = own_agent.cli("run", "--rm", f"{registry.address}/no/such")
    assert missing.returncode == 125
    assert own_agent.containers() == []


@pytest.mark.native
def test_a_mirror_stands_in_for_docker_io(data_root, registry):
    with Agent(data_root, "--registry-mirror", f"http://{registry.address}") as agent:
        done = agent.cli("run", "--rm", "--memory", "256m", "alpine", "cat", "/etc/alpine-release")
        assert done.stdout.startswith("3.23")
        assert done.returncode == 0
        one = agent.launch("sleep", "1000", limits={"memory_max_bytes": 256 << 20})
        path = agent.detail(one)["cgroup_path"]
        file = group_file(path, "memory", "memory.limit_in_bytes", "memory.max")
        assert file.read_text() == f"{256 << 20}\n"
