"""Processes of ours that wait for a job are in a container's namespaces, and out of reach.

One that waits in a container which was made and not started is in its root already; whatever
happens before the start, the start is of the container as it is then.
"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cgagent.client.http import Client
from cgagent.errors import ConflictError
from tests.world.agent import SLOWNESS, eventually, frames, members

pytestmark = [pytest.mark.system]

ALONE = {"networks": [{"network": "none"}]}
"""As the first zygotes of an agent are, whose containers have never been in a network."""


@pytest.fixture
def waiting(agent):
    """The pids of those there are."""
    own = os.readlink("/proc/self/ns/pid")

    def find():
        supervisor = agent.supervisor_pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [
            pid
            for pid in children
            if os.readlink(f"/proc/{pid}/ns/pid") != own
            and b"supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    eventually(find)
    return find()


def group_of(agent, container):
    return agent.cgroup_file(container, "pids", v1="cgroup.procs", v2="cgroup.procs").parent


def waiting_in(agent, container):
    """The pid of the one that waits in a container, None if there is none."""
    pids = members(f"{agent.cgroup_parent}/{agent.detail(container)['id']}", "pids")
    return pids[0] if pids else None


def is_set_up(agent, container):
    pid = waiting_in(agent, container)
    return pid is not None and os.path.exists(f"/proc/{pid}/root/etc/alpine-release")


@pytest.fixture
def made(agent, container):
    """A container that was made and waits in its root: ``made(*command, **options)``."""
    agent.run("true")  # what is kept ready is in the network of the last one
    time.sleep(0.3 * SLOWNESS)  # until it is made, in a moment

    def make(*command, **options):
        eventually(agent.pool_is_full)
        box = container(*command, start=False, **options)
        eventually(lambda: is_set_up(agent, box), "it was not set up")
        return box

    return make


def test_a_container_that_was_made_waits_in_its_root_with_its_limits(agent, made):
    box = made("true", limits={"memory_max_bytes": 64 << 20})
    pid = waiting_in(agent, box)
    limit = agent.cgroup_file(box, "memory", v1="memory.limit_in_bytes", v2="memory.max")
    assert os.listdir(f"/proc/{pid}/root/proc/1")
    assert limit.read_text() == f"{64 << 20}\n"
    agent.post(box, "start")
    assert agent.wait(box) == 0


@pytest.mark.native
def test_it_is_the_process_that_the_command_will_be(agent, made):
    box = made("sleep", "1000")
    pid = waiting_in(agent, box)
    agent.post(box, "start")
    assert agent.state(box)["pid"] == pid


@pytest.mark.native
def test_what_was_changed_before_the_start_is_what_starts(agent, made):
    box = made("sleep", "1000", limits={"memory_max_bytes": 64 << 20, "pids_max": 50})
    agent.cli("update", "--memory", "96m", "--restart", "on-failure:3", box)
    agent.cli("rename", box, "renamed-zygote")
    agent.post(box, "start")
    limit = agent.cgroup_file(box, "memory", v1="memory.limit_in_bytes", v2="memory.max")
    pids = agent.cgroup_file(box, "pids", v1="pids.max", v2="pids.max")
    assert (limit.read_text(), pids.read_text()) == (f"{96 << 20}\n", "50\n")


@pytest.mark.native
def test_files_put_there_before_the_start_are_there(agent, made, cp, tmp_path):
    box = made("sh", "-c", "cat /etc/motd /root/new")
    for name in ("motd", "new"):
        (tmp_path / name).write_text(f"{name} of ours\n")
    cp(str(tmp_path / "motd"), f"{box}:/etc/motd")
    cp(str(tmp_path / "new"), f"{box}:/root/new")
    agent.post(box, "start")
    agent.wait(box)
    assert agent.log_text(box) == "motd of ours\nnew of ours\n"


@pytest.mark.native
def test_a_copy_does_not_take_the_process_from_a_client_that_is_attached(agent, made, cp, tmp_path):
    box = made("echo", "hello")
    connection = agent.client.upgrade(f"/v1/containers/{box}/attach?stdin=false")
    cp(str(tmp_path), f"{box}:/root", fails_with="a client is attached to container")
    agent.post(box, "start")
    stream, output = next(frames(connection))
    assert (stream, output) == (1, b"hello\n")
    connection.socket.close()


@pytest.mark.native
def test_of_two_with_one_name_one_is_made_and_nothing_of_the_other(agent, nothing_made):
    body = {"image": "alpine", "command": ["true"], "name": "twins"}

    def make(_):
        client = Client(agent.client.path)
        try:
            return client.request("POST", "/v1/containers", body)["id"]
        except ConflictError:
            return None
        finally:
            client.close()

    for _ in range(5):
        eventually(agent.pool_is_full)
        with ThreadPoolExecutor(2) as pool:
            made = list(filter(None, pool.map(make, range(2))))
        assert len(made) == 1
        agent.remove(made[0])


@pytest.mark.parametrize("is_noticed", [True, False])
def test_one_that_dies_before_the_start_is_replaced(agent, made, is_noticed):
    box = made("true")
    os.kill(waiting_in(agent, box), signal.SIGKILL)
    if is_noticed:
        eventually(lambda: not group_of(agent, box).exists(), "its group was not given up")
    agent.post(box, "start")
    assert agent.wait(box) == 0


@pytest.mark.native
def test_what_cannot_be_set_up_yet_can_be_started_later(own_agent):
    """While it is made the short name of its image's layer is that of something else."""
    eventually(own_agent.pool_is_full)
    (link,) = (own_agent.data_root / "l").iterdir()
    target = os.readlink(link)
    link.unlink()
    link.symlink_to("/proc/sys/kernel")  # overlayfs takes no such directory
    box = own_agent.create("true")
    eventually(lambda: waiting_in(own_agent, box) is None, "its group was not given up")
    link.unlink()
    link.symlink_to(target)
    own_agent.post(box, "start")
    assert own_agent.wait(box) == 0


@pytest.mark.native
def test_those_that_die_with_their_job_unread_take_nobody_along(own_agent):
    eventually(own_agent.pool_is_full)
    supervisor = own_agent.supervisor_pid
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    box = own_agent.create("true")
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: waiting_in(own_agent, box) is None, "its group was not given up")
    own_agent.post(box, "start")
    assert own_agent.wait(box) == 0
    assert own_agent.supervisor_pid == supervisor


@pytest.mark.native
@pytest.mark.parametrize("killed", ["supervisor", "keeper"])
def test_it_waits_on_when_a_process_above_it_dies(own_agent, killed):
    eventually(own_agent.pool_is_full)
    box = own_agent.create("sh", "-c", "echo here; sleep 1000", **ALONE)
    eventually(lambda: is_set_up(own_agent, box))
    pid = waiting_in(own_agent, box)
    getattr(own_agent, f"kill9_{killed}")()
    own_agent.post(box, "start")
    assert own_agent.state(box)["pid"] == pid
    eventually(lambda: own_agent.log_text(box) == "here\n")


@pytest.mark.native
def test_one_of_an_agent_that_died_is_gone_and_its_container_starts(own_agent):
    eventually(own_agent.pool_is_full)
    box = own_agent.create("true", limits={"memory_max_bytes": 64 << 20}, **ALONE)
    eventually(lambda: is_set_up(own_agent, box))
    own_agent.kill9()
    own_agent.start()
    own_agent.post(box, "start")
    assert own_agent.wait(box) == 0


@pytest.mark.native
def test_cve_2019_5736_the_interpreter_is_read_only(agent, waiting):
    """With every capability it could not be written to."""
    for pid in (*waiting, agent.supervisor_pid, agent.keeper_pid):
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY


@pytest.mark.native
def test_cve_2019_5736_one_that_has_given_up_its_power_cannot_be_reached(agent, container):
    """Just before a command becomes one it has as little as those inside who look at it.

    It takes long to find in so many directories.
    """
    script = "while :; do for p in /proc/[0-9]*; do readlink $p/exe; done | grep -v busybox; done"
    box = container("sh", "-c", script)
    path = "PATH=" + "x:" * 60_000 + "/bin"
    assert agent.exec(box, "true", env=[path]).exit_code == 0
    assert agent.log_text(box) == ""
