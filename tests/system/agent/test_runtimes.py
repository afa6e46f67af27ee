"""Containers made by another OCI runtime: all else is as with our own."""

import os
from pathlib import Path

import pytest

from cgagent.errors import CommandNotFoundError, InvalidInputError, NotFoundError
from tests.world.agent import eventually
from tests.world.oci import PROGRAM

pytestmark = pytest.mark.system

RUNTIMES = [
    "crun",
    pytest.param("runc", marks=pytest.mark.native),
    pytest.param(PROGRAM, marks=pytest.mark.native, id="cgagent-oci"),
]


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    return request.param


def states(agent):
    """What runtimes keep of containers, now."""
    return [p for p in agent.socket.parent.glob("runtimes/*/*") if p.is_dir()]


def test_a_command_from_its_start_to_its_end(agent, runtime, nothing_made):
    script = "cat; id -u; id -G; echo $HOME >&2; grep CapEff /proc/self/status; exit 7"
    done = agent.run("sh", "-c", script, runtime=runtime, stdin=b"in\n", user="daemon")
    assert done.stdout == "in\n2\n2 1 4\nCapEff:\t0000000000000000\n"
    assert (done.stderr, done.exit_code) == ("/sbin\n", 7)
    failed = agent.cli("run", "--rm", "--runtime", runtime, "alpine", "nosuch")
    assert failed.returncode == 127
    assert "nosuch" in failed.stderr
    assert failed.stdout == ""
    assert not states(agent)


def test_everything_that_is_done_to_a_container(agent, container, runtime):
    limits = {"memory_max_bytes": 64 << 20}
    box = container("sh", "-c", "echo up; exec sleep 1000", runtime=runtime, limits=limits)
    pid = agent.state(box)["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        assert f"PPid:\t{agent.supervisor_pid}\n" in f.read()
    procs = agent.cgroup_file(box, "memory", v1="cgroup.procs", v2="cgroup.procs")
    assert procs.read_text() == f"{pid}\n"
    eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    done = agent.exec(box, "sh", "-c", "cat; cat /proc/1/comm; exit 5", stdin=b"in\n")
    assert (done.stdout, done.exit_code) == ("in\nsleep\n", 5)
    done = agent.cli("exec", box, "nosuch")
    assert done.returncode == 127
    agent.post(box, "freeze")
    assert agent.state(box)["status"] == "frozen"
    agent.post(box, "thaw")
    assert agent.detail(box)["limits_held"]["memory_max_bytes"] == 64 << 20
    assert agent.client.request("GET", f"/v1/containers/{box}/stats")
    agent.post(box, "kill")
    assert agent.wait(box) == 137
    eventually(lambda: not states(agent))
    agent.post(box, "start")
    eventually(lambda: agent.log_text(box) == "up\nup\n")
    agent.post(box, "stop?timeout_s=0")
    eventually(lambda: not states(agent))


def test_a_terminal(agent, runtime, screen):
    shown = screen("run", "--rm", "-it", "--runtime", runtime, "alpine", "sh")
    shown.expect("# ")
    shown.type("tty; stty size\n")
    shown.expect("/dev/pts/0\r\n24 80")
    shown.type("exit 6\n")
    assert shown.wait() == 6


@pytest.mark.native
def test_it_outlives_the_agent(own_agent):
    box = own_agent.launch("sh", "-c", "read x; exit 9", runtime="runc", stdin=True)
    pid = own_agent.state(box)["pid"]
    own_agent.kill9()
    own_agent.start()
    assert own_agent.state(box)["pid"] == pid
    os.kill(pid, 9)
    assert own_agent.wait(box) == 137
    eventually(lambda: not states(own_agent))


@pytest.mark.native
@pytest.mark.parametrize(
    ("name", "error", "complaint"),
    [
        ("docker", InvalidInputError, "'docker' is not known; known are crun, native, runc"),
        ("/etc/passwd", NotFoundError, "is not a program"),
        ("runsc", NotFoundError, "not installed"),
    ],
)
def test_a_runtime_that_is_none(agent, nothing_made, name, error, complaint):
    with pytest.raises(error, match=complaint):
        agent.create("true", runtime=name)


@pytest.mark.native
def test_a_runtime_that_fails_leaves_nothing(agent, container, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho it is broken >&2; exit 3\n")
    broken.chmod(0o755)
    box = container("true", start=False, runtime=str(broken))
    supervisor = agent.supervisor_pid
    failed = agent.cli("start", box)
    assert "broken: create: it is broken" in failed.stderr
    late = 'case "$*" in *" start "*) echo too late >&2; exit 1;; esac; exec runc "$@"'
    broken.write_text(f"#!/bin/sh\n{late}\n")
    assert "broken: start: too late" in agent.cli("start", box).stderr
    assert not agent.cgroups() & {box}
    assert agent.client.request("GET", "/v1/info")["supervisor_pid"] == supervisor
    with pytest.raises(CommandNotFoundError, match="nosuch"):
        agent.launch("nosuch", runtime="runc")
    assert not states(agent)
