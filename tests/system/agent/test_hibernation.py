"""Containers that sleep: what puts them to sleep, what wakes them, and that no client notices."""

import contextlib
import json
import random
import socket
import time

import pytest

from cgagent.errors import ConflictError, InvalidInputError
from tests.system.agent.test_networks import address, asked
from tests.world.agent import SLOWNESS, eventually

pytestmark = pytest.mark.system

ECHO = ("sh", "-c", "dd if=/dev/zero of=/big bs=1M count=24 2>&- && exec nc -lk -p 80 -e cat")
"""A server with 24 MiB of page cache."""


def said(where, words=b"hello"):
    with socket.create_connection((where, 80), timeout=20 * SLOWNESS) as client:
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def sleep_of(agent, one):
    return agent.detail(one)["state"].get("sleep")


def hibernate(agent, one, query=""):
    """As soon as nothing waits for it: what was asked before may not be over yet."""

    def asleep():
        try:
            return agent.client.request("POST", f"/v1/containers/{one}/hibernate{query}")
        except ConflictError as e:
            if "is frozen already" in e.message:
                raise
            return None

    return eventually(asleep)


@pytest.fixture
def server(agent, container, network):
    network("blue")
    one = container(*ECHO, **asked("blue"))
    where = address(agent, one, "blue")
    eventually(lambda: answers(where))
    return one, where


def answers(where):
    try:
        return said(where) == b"hello"
    except ConnectionRefusedError:
        return False


def woken_by(agent, one, since):
    shown = ("--since", since, "--until", f"{time.time():.6f}", "--format", "json")
    lines = agent.cli("events", *shown, "-f", "event=wake", "-f", f"container={one}").stdout
    return [json.loads(line)["Actor"]["Attributes"]["by"] for line in lines.splitlines()]


def test_a_packet_wakes_a_server_that_has_given_its_memory_back(agent, server):
    one, where = server
    since = f"{time.time():.6f}"
    sleep = hibernate(agent, one)
    assert sleep["hears_packets"]
    assert sleep["memory_before_bytes"] - sleep["memory_after_bytes"] > 16 << 20
    shown = agent.detail(one)["state"]
    assert (shown["status"], shown["sleep"]["by"]) == ("frozen", "user")
    assert "(Hibernates)" in agent.cli("ps").stdout
    with pytest.raises(ConflictError, match="frozen already"):
        hibernate(agent, one)
    assert said(where) == b"hello"
    eventually(lambda: sleep_of(agent, one) is None)
    assert agent.detail(one)["state"]["status"] == "running"
    for by, wake in {
        "exec": lambda: agent.exec(one, "true"),
        "user": lambda: agent.post(one, "thaw"),
        "time": lambda: None,
    }.items():
        hibernate(agent, one, "?reclaim=false" + ("&lease_s=0.2" if by == "time" else ""))
        wake()
        eventually(lambda: sleep_of(agent, one) is None, by)
    assert woken_by(agent, one, since) == ["packet", "exec", "user", "time"]
    hibernate(agent, one)
    agent.post(one, "kill")
    agent.wait(one)
    assert sleep_of(agent, one) is None


def test_what_waits_for_it_keeps_it_awake(agent, server, container):
    one, where = server
    agent.post(one, "freeze")
    with socket.create_connection((where, 80)) as client:
        client.sendall(b"wait")
        agent.post(one, "thaw")
        assert client.recv(4) == b"wait"
        agent.exec(one, "sh", "-c", "kill -STOP $(pgrep cat)")
        client.sendall(b"more")
        with pytest.raises(ConflictError, match=r"data waits to be read|has no answer"):
            agent.post(one, "hibernate")
        assert agent.detail(one)["state"]["status"] == "running"
        assert hibernate(agent, one, "?force=true")["by"] == "user"
        with contextlib.suppress(ConflictError):  # a late packet was quicker
            agent.post(one, "thaw")
    deaf = container("sleep", "1000", **asked("none"))
    assert not agent.client.request("POST", f"/v1/containers/{deaf}/hibernate")["hears_packets"]
    with pytest.raises(InvalidInputError, match="hibernate after 0"):
        container("true", hibernate_after_s=0)


def test_one_that_two_put_to_sleep_or_that_changes_networks_still_hears(agent, server, network):
    one, where = server
    both = [agent.client.connect() for _ in range(2)]
    for connection in both:
        connection.send("POST", f"/v1/containers/{one}/hibernate?force=true", None)
    assert 200 in [connection.head()[0] for connection in both]
    for connection in both:
        connection.socket.close()
    assert said(where) == b"hello"
    network("green")
    hibernate(agent, one)
    assert agent.cli("network", "connect", "green", one).returncode == 0
    assert sleep_of(agent, one)
    assert said(address(agent, one, "green")) == b"hello"
    hibernate(agent, one)
    attaching = agent.client.connect()
    with attaching.socket:
        attaching.send("POST", f"/containers/{one}/attach?stream=1&stdout=1", None)
        assert attaching.head()[0] == 200
    assert sleep_of(agent, one) is None
    assert agent.cli("network", "disconnect", "green", one).returncode == 0


def test_no_connect_at_any_moment_is_lost(agent, server):
    one, where = server
    chance = random.Random(7)  # noqa: S311
    slept = 0
    for _ in range(int(60 / SLOWNESS) + 4):
        connection = agent.client.connect()
        with connection.socket:
            connection.send("POST", f"/v1/containers/{one}/hibernate", None)
            time.sleep(chance.random() * 0.03 * SLOWNESS)
            assert said(where) == b"hello"
            slept += connection.head()[0] == 200
        assert said(where) == b"hello"  # if it has slept after that, this wakes it
    assert slept


def test_idle_for_as_long_as_it_was_to_be(agent, container, network):
    network("blue")
    command = agent.cli("run", "-d", "--net", "blue", "--hibernate-after", "2s", "alpine", *ECHO)
    one = command.stdout.strip()
    try:
        where = address(agent, one, "blue")
        eventually(lambda: (sleep_of(agent, one) or {}).get("by") == "idle")
        assert said(where) == b"hello"
        eventually(lambda: sleep_of(agent, one) is None)
        eventually(lambda: sleep_of(agent, one))
    finally:
        agent.remove(one)


@pytest.mark.native
def test_an_agent_that_starts_wakes_what_sleeps(own_agent):
    one = own_agent.launch("sleep", "1000")
    own_agent.client.request("POST", f"/v1/containers/{one}/hibernate")
    own_agent.kill9()
    own_agent.start()
    shown = own_agent.detail(one)["state"]
    assert (shown["status"], shown.get("sleep")) == ("running", None)
