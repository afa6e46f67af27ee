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


@pytest.mark.native
def test_what_was_damaged_is_told_of_and_fetched_again(own_agent, registry):
    name = f"{registry.address}/library/alpine"
    own_agent.cli("pull", "-q", name)
    sound = own_agent.cli("system", "check", "-q")
    assert (sound.stdout, sound.stderr, sound.returncode) == ("nothing is wrong\n", "", 0)
    blobs = own_agent.data_root / "images/blobs/sha256"
    bad = max(blobs.iterdir(), key=lambda p: (p.read_bytes()[:2] == b"\x1f\x8b", p.name))
    bad.write_bytes(b"damage")
    found = own_agent.cli("system", "check")
    assert found.returncode == 1
    assert found.stdout.startswith(f"{name}:latest: blob sha256:{bad.name} has 6 bytes, not ")
    assert ": Checking" in found.stderr
    repaired = own_agent.cli("system", "check", "--repair")
    assert repaired.stdout.startswith(f"{name}:latest: repaired: blob sha256:{bad.name} ")
    assert repaired.returncode == 0
    assert own_agent.cli("system", "check", "-q").returncode == 0
