"""Thousands of streams at once: little memory for each, all are told, and nobody waits for them."""

import contextlib
import resource
import socket
from pathlib import Path

import pytest

from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

MANY = 2000
MOST_MIB = 60


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_mib(agent):
    return int(Path(f"/proc/{agent.pid}/statm").read_text().split()[1]) / 256


def settles_below(agent, most_mib):
    """What was needed for the moment is given back after a while."""
    eventually(lambda: resident_mib(agent) < most_mib, f"it has {resident_mib(agent)} MiB")


@contextlib.contextmanager
def streams(agent, path, count):
    """So many connections that follow, each with the head of its answer read."""
    with contextlib.ExitStack() as closing:
        made = []
        for _ in range(count):
            sock = closing.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(agent.socket))
            sock.settimeout(60 * SLOWNESS)
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            made.append(sock)
        for sock in made:
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        yield made


def read_until(sock, wanted):
    told = b""
    while wanted not in told:
        more = sock.recv(65536)
        assert more, told
        told += more
    return told


@pytest.mark.parametrize("path", ["/v1.57/events", "/v1/events?follow=true&since_ns=4{:018d}"])
def test_events_come_to_all_who_follow(own_agent, path):
    box = own_agent.launch("sleep", "1000")
    with streams(own_agent, path.format(0), 1):  # what is loaded with the first
        before = resident_mib(own_agent)
    with streams(own_agent, path.format(0), MANY) as following:
        settles_below(own_agent, before + MOST_MIB)
        for _ in range(3):
            own_agent.post(box, "freeze")
            own_agent.post(box, "thaw")
        for sock in following:
            told = read_until(sock, b"unpause")
            assert b"pause" in told
    own_agent.post(box, "freeze")
    assert own_agent.state(box)["status"] == "frozen"


@pytest.mark.parametrize(
    "path", ["/v1.57/containers/{}/stats", "/v1/containers/{}/stats?stream=true"]
)
def test_figures_come_to_all_who_follow(own_agent, path):
    boxes = [own_agent.launch("sleep", "1000") for _ in range(10)]
    with streams(own_agent, path.format(boxes[0]), 1):  # what is loaded with the first
        before = resident_mib(own_agent)
    with contextlib.ExitStack() as closing:
        following = [
            sock
            for box in boxes
            for sock in closing.enter_context(
                streams(own_agent, path.format(box), MANY // len(boxes))
            )
        ]
        for _ in range(2):
            for sock in following:
                assert b"memory" in read_until(sock, b"\n")
        settles_below(own_agent, before + MOST_MIB)
        own_agent.post(boxes[0], "freeze")
