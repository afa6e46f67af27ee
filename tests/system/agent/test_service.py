"""The agent as a service: a socket handed over, readiness and signs of life told."""

import os
import shutil
import socket
import subprocess

import pytest

from cgagent.client.http import Client
from tests.world import debian
from tests.world.agent import Agent, eventually, free_port

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def manager(tmp_path):
    """A service manager's end of sd_notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


def test_ready_then_signs_of_life_then_stopping(data_root, manager, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")  # few: unread ones fill its queue
    with Agent(data_root):
        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    told = manager.recv(100)
    while told == b"WATCHDOG=1":
        told = manager.recv(100)
    assert told == b"STOPPING=1"


def tool(name):
    """One of systemd's, installed or unpacked, and what it wants in its environment."""
    found = shutil.which(name)
    if found:
        return found, {}
    package = debian.unpack("systemd")
    libraries = {"LD_LIBRARY_PATH": str(package / "usr/lib/x86_64-linux-gnu/systemd")}
    return str(package / "usr/bin" / name), libraries


def test_a_socket_that_systemd_has_bound(data_root):
    agent = Agent(data_root)
    agent.socket.parent.mkdir(parents=True)
    command, environment = tool("systemd-socket-activate")
    with (data_root / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "--listen", str(agent.socket), *agent.command()],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )
    try:
        eventually(agent.socket.exists, (data_root / "log").read_text())
        client = Client(str(agent.socket))
        info = client.request("GET", "/v1/info")  # the first connection starts it
        assert info["pid"] == process.pid
        client.close()
    finally:
        process.terminate()
        process.wait(30)
    assert agent.socket.exists(), "it is systemd's"
    agent.socket.unlink()
    eventually(lambda: not os.path.exists(f"/proc/{info['supervisor_pid']}"))


@pytest.mark.parametrize("taken", [True, False], ids=["fd://", "not asked for"])
def test_a_tcp_socket_that_systemd_has_bound(data_root, taken):
    """It is for tokens, and for nobody where the settings do not speak of it."""
    agent = Agent(data_root, *(("-H", "fd://") if taken else ()))
    agent.socket.parent.mkdir(parents=True)
    where = f"127.0.0.1:{free_port()}"
    command, environment = tool("systemd-socket-activate")
    with (data_root / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "--listen", str(agent.socket), "--listen", where, *agent.command()],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )
    try:
        eventually(agent.socket.exists, (data_root / "log").read_text())
        supervisor = agent.client.request("GET", "/v1/info")["supervisor_pid"]
        base = ["curl", "-s", "-m", "20", "-w", "%{http_code}", f"http://{where}/v1/info"]
        told = subprocess.run(base, check=False, capture_output=True, text=True).stdout
        assert told.endswith("401" if taken else "000")
        agent.client.close()
    finally:
        process.terminate()
        process.wait(30)
    agent.socket.unlink()
    eventually(lambda: not os.path.exists(f"/proc/{supervisor}"))


def test_units_are_valid(tmp_path):
    verify, environment = tool("systemd-analyze")
    program = tmp_path / "lib" / "cgagent" / ".venv" / "bin" / "cgagent"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    units = os.path.join(os.path.dirname(__file__), "../../../deploy/systemd")
    for name in ("cgagent.service", "cgagent.socket"):
        with open(os.path.join(units, name)) as unit:
            (tmp_path / name).write_text(unit.read().replace("/usr/local", str(tmp_path)))
    ran = subprocess.run(
        [
            *(verify, "verify", "--man=no"),
            *(str(tmp_path / "cgagent.service"), str(tmp_path / "cgagent.socket")),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in ran.stderr.splitlines() if "cgagent" in line]
    assert (ran.returncode, own) == (0, []), ran.stderr
