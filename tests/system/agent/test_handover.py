"""An agent that starts anew: nobody who connects is turned away, and nobody's answer is lost.

``CGAGENT_TEST_RESTARTS=20`` has so many in a row.
"""

import contextlib
import os
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.world.agent import Agent, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

_RESTARTS = int(os.environ.get("CGAGENT_TEST_RESTARTS", "5"))


@pytest.fixture
def own_agent(data_root, alpine_docker_archive):
    """One that starts anew does what it was started by: no fork of what the tests have loaded."""
    with Agent(data_root, forked=False) as running:
        running.load(alpine_docker_archive)
        yield running


def restart(agent):
    """Returns when the next agent answers."""
    before = started(agent)
    os.kill(agent.pid, signal.SIGUSR2)
    eventually(lambda: started(agent) != before, "no other agent", timeout_s=20)


def started(agent):
    agent.client.close()
    return agent.client.request("GET", "/v1/info")["started_at"]


class Pinging:
    """Connects and asks without a pause; `failed` is whatever did not work."""

    def __init__(self, address):
        self._address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count = 0
        self.failed = []

    def _run(self):
        while not self._ended.is_set():
            try:
                self._ping()
                self.count += 1
            except OSError as e:
                self.failed.append(repr(e))
            time.sleep(0.002)

    def _ping(self):
        family = socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET
        path = "/_ping" if family == socket.AF_UNIX else "/-/healthy"
        with socket.socket(family) as sock:
            sock.settimeout(30)
            sock.connect(self._address)
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode())
            answer = b""
            while piece := sock.recv(4096):
                answer += piece
        if not answer.startswith(b"HTTP/1.1 200"):
            raise OSError(f"answered {answer!r}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def test_restarts_while_others_connect(own_agent):
    box = own_agent.launch("sleep", "1000", name="box")
    host, _, port = own_agent.metrics.rpartition(":")
    address = str(own_agent.socket)
    with Pinging(address) as control, Pinging(address), Pinging((host, int(port))) as metrics:
        pid = own_agent.pid
        for _ in range(_RESTARTS):
            restart(own_agent)
    assert own_agent.pid == pid
    assert (control.failed, metrics.failed) == ([], [])
    assert min(control.count, metrics.count) > _RESTARTS
    assert own_agent.state(box)["status"] == "running"
    assert own_agent.exec(box, "echo", "inside").stdout == "inside\n"
    descriptors = {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir() if f.exists()}
    assert len([d for d in descriptors if d.startswith("socket:")]) < 40


def test_no_signal_in_the_middle_of_a_restart_ends_the_agent(own_agent):
    before, pid = started(own_agent), own_agent.pid
    for _ in range(100):
        os.kill(pid, signal.SIGUSR2)
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.01)
    eventually(lambda: started(own_agent) != before, "no other agent", timeout_s=20)
    assert own_agent.pid == pid


def test_streams_end_cleanly_and_what_is_asked_for_is_done(own_agent):
    box = own_agent.launch("sh", "-c", "trap 'sleep 1; exit 4' TERM; while :; do sleep 0.1; done")
    streams = [
        own_agent.client.another().lines("GET", f"/v1/{path}")
        for path in ("events?follow=true", f"containers/{box}/logs?follow=true")
    ]
    for stream in streams[:1]:
        next(stream)
    told = []
    stopping = threading.Thread(
        target=lambda: told.append(
            own_agent.client.another().request("POST", f"/v1/containers/{box}/stop")
        )
    )
    stopping.start()
    eventually(lambda: own_agent.client.request("GET", "/v1/jobs")[0]["name"] == "stop")
    restart(own_agent)
    stopping.join(30)
    assert told == [None]
    for stream in streams:
        list(stream)  # cut off, it would raise
    assert own_agent.state(box)["exit_code"] == 4


def test_the_children_of_before_leave_no_zombies(own_agent):
    own_agent.launch("sleep", "1000")
    restart(own_agent)
    own_agent.kill9_supervisor()
    own_agent.kill9_keeper()
    pid = own_agent.pid

    def zombies():
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [c for c in children if ") Z " in Path(f"/proc/{c}/stat").read_text()]

    eventually(lambda: not zombies(), "a child is not reaped")


def test_what_is_not_listened_on_any_more_is_closed(data_root, alpine_docker_archive):
    """The next agent has another configuration."""
    settings = data_root / "config.toml"
    other = data_root / "other.sock"
    settings.write_text(f'hosts = ["unix://{other}"]\n')
    with Agent(data_root, "--config", str(settings), forked=False) as agent:
        assert other.exists()
        settings.write_text("hosts = []\n")
        restart(agent)
        assert not other.exists()
        url = f"http://{agent.metrics}/-/healthy"
        with contextlib.closing(urllib.request.urlopen(url, timeout=20)) as answer:
            assert answer.status == 200
