"""Namespaces shared with the host or with another container."""

import os
from pathlib import Path

import pytest

from cgagent.errors import ConflictError
from tests.world.agent import eventually

pytestmark = pytest.mark.system


def namespace(kind, pid="self"):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def is_alive(pid):
    """A zombie is not: it waits for somebody of the host's to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("option", "kind"), [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroupns", "cgroup")]
)
def test_with_the_host(agent, container, option, kind):
    made = container("sleep", "1000", **{option: "host"})
    pid = agent.state(made)["pid"]
    assert namespace(kind, pid) == namespace(kind)
    for other in {"pid", "ipc", "uts", "cgroup", "mnt", "net"} - {kind}:
        assert namespace(other, pid) != namespace(other)
    assert agent.exec(made, "echo", "in").stdout == "in\n"


def test_all_of_a_container_ends_with_it_in_the_hosts_pid_namespace(agent, container):
    made = container("sh", "-c", "sleep 4242 & sleep 1000", pid="host")
    group = agent.cgroup_file(made, "memory", v1="cgroup.procs", v2="cgroup.procs")
    pids = eventually(lambda: len(p := group.read_text().split()) > 1 and [int(x) for x in p])
    agent.post(made, "kill")
    agent.wait(made)
    agent.remove(made)
    assert not any(is_alive(p) for p in pids)


@pytest.mark.native
def test_the_hosts_name(agent):
    result = agent.run("sh", "-c", "hostname; cat /etc/hostname", uts="host")
    assert result.stdout.split() == [os.uname().nodename] * 2


@pytest.mark.native
def test_the_pids_of_another(agent, container):
    first = container("sleep", "1234")
    second = container("sleep", "1000", pid=f"container:{first[:12]}")
    pids = [agent.state(c)["pid"] for c in (first, second)]
    assert namespace("pid", pids[0]) == namespace("pid", pids[1])
    assert "sleep 1234" in agent.exec(second, "ps", "-o", "args").stdout
    agent.post(first, "kill")
    assert agent.wait(second) == 137  # the first one was the init of both


@pytest.mark.native
def test_the_shared_memory_of_another(agent, container):
    first = container("sh", "-c", "echo secret >/dev/shm/x; sleep 1000", ipc="shareable")
    second = container("sleep", "1000", ipc=f"container:{first}")
    pids = [agent.state(c)["pid"] for c in (first, second)]
    assert namespace("ipc", pids[0]) == namespace("ipc", pids[1])
    eventually(lambda: agent.exec(second, "cat", "/dev/shm/x").stdout == "secret\n")
    agent.exec(second, "sh", "-c", "echo back >/dev/shm/y")
    assert agent.exec(first, "cat", "/dev/shm/y").stdout == "back\n"
    assert agent.exec(second, "sh", "-c", "mount | grep -c ' / '").stdout == "1\n"


@pytest.mark.native
def test_an_ipc_namespace_that_is_not_for_others(agent, container, nothing_made):
    first = container("sleep", "1000")
    with pytest.raises(ConflictError, match="create it with --ipc shareable"):
        agent.create("true", ipc=f"container:{first}")
    agent.remove(first)


@pytest.mark.native
def test_another_that_does_not_run(agent, container):
    first = container("true", start=False)
    second = container("true", start=False, pid=f"container:{first}")
    with pytest.raises(ConflictError, match="is not running"):
        agent.post(second, "start")
    assert agent.state(second)["status"] == "created"


@pytest.mark.native
def test_the_size_of_shared_memory_and_none(agent):
    script = "df -k /dev/shm | tail -1 | awk '{print $2}'"
    assert agent.run("sh", "-c", script).stdout == "65536\n"
    assert agent.run("sh", "-c", script, shm_size_bytes=1 << 20).stdout == "1024\n"
    result = agent.run("ls", "/dev/shm", ipc="none")
    assert "No such file" in result.stderr
