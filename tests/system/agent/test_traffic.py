"""A packet for a container that is paused is told as an event, once."""

import json
import socket
import time

import pytest

from cgagent.errors import ConflictError
from tests.system.agent.test_networks import address, asked
from tests.world.agent import eventually

pytestmark = pytest.mark.system


def told(agent, container, since):
    asked_for = ("--since", since, "--until", f"{time.time():.6f}", "--format", "json")
    lines = agent.cli("events", *asked_for, "-f", "event=traffic").stdout.splitlines()
    found = [json.loads(line)["Actor"]["Attributes"] for line in lines]
    return [each["name"] for each in found if each["container"] == container]


def knock(where):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"knock", (where, 9))


def test_the_first_packet_for_a_paused_container(agent, container, network):
    network("blue")
    one = container("sleep", "1000", **asked("blue"))
    other = container("sleep", "1000", **asked("blue"))
    since, where = f"{time.time():.6f}", address(agent, one, "blue")
    knock(where)
    agent.post(one, "freeze")
    agent.post(one, "traffic")
    assert told(agent, one, since) == []
    knock(address(agent, other, "blue"))
    for _ in range(3):
        knock(where)
    eventually(lambda: told(agent, one, since) == ["blue"])
    knock(where)
    agent.post(one, "traffic")
    agent.post(one, "traffic")
    knock(where)
    eventually(lambda: told(agent, one, since) == ["blue", "blue"])
    agent.post(one, "traffic")
    agent.client.request("DELETE", f"/v1/containers/{one}/traffic")
    knock(where)
    agent.post(one, "thaw")
    time.sleep(0.2)
    assert told(agent, one, since) == ["blue", "blue"]
    agent.post(one, "traffic")
    agent.remove(one)
    assert agent.cli("network", "disconnect", "blue", other).returncode == 0


def test_who_gets_no_packets(agent, container):
    alone = container("sleep", "1000", **asked("none"))
    with pytest.raises(ConflictError, match="is in no network of its own"):
        agent.post(alone, "traffic")
    agent.post(alone, "kill")
    agent.wait(alone)
    with pytest.raises(ConflictError, match="is not running"):
        agent.post(alone, "traffic")
