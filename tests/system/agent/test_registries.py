"""Images from a registry, straight into a container."""

import signal
import subprocess

import pytest

from tests.world.agent import Agent, eventually, group_file
from tests.world.gate import gate

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
    assert pulled.stdout == f"{image}:3.23\n"
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


@pytest.mark.native
def test_the_agent_stops_while_pulls_hang(own_agent, registry):
    """Nobody waits for a registry then, and the log has no traceback of what was given up."""
    with gate(registry.address) as silent:
        silent.silent = True
        name = f"{silent.address}/library/alpine"
        asked = [("pull", name), ("run", "--rm", name, "true"), ("search", f"{silent.address}/x")]
        clients = [
            subprocess.Popen(own_agent.cli_command(*words), stderr=subprocess.PIPE, text=True)
            for words in asked
        ]
        eventually(lambda: silent.connections >= len(asked))
        assert own_agent.stop() == 0
        told = [client.communicate()[1] for client in clients]
    assert "the agent closed the connection" in told[0]
    assert "the agent is stopping" in told[2]
    log = own_agent.log.read_text()
    assert "Traceback" not in log
    assert "CancelledError" not in log


@pytest.mark.native
def test_a_pull_is_given_up_amid_a_handshake(own_agent, registry):
    with gate(registry.address) as silent:
        silent.silent = True
        words = own_agent.cli_command("pull", f"{silent.address}/library/alpine")
        client = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        eventually(lambda: silent.connections)
        (job,) = own_agent.client.request("GET", "/v1/jobs")[:1]
        assert (job["name"], job["status"]) == ("pull", "running")
        client.send_signal(signal.SIGINT)
        client.communicate()
        eventually(lambda: own_agent.client.request("GET", "/v1/jobs")[0]["status"] != "running")
        assert silent.connections == 1  # it has not gone on with the next attempt
