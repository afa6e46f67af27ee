"""Containers whose groups are below another parent than the agent's own."""

import os
import shutil
import signal
import time

import pytest

from cgagent.cgroups import Host, Membership
from tests.world.agent import eventually, group_file

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def parent(own_agent):
    """The path of a group that nobody has made."""
    path = f"{own_agent.cgroup_parent}-batch"
    yield path
    own_agent.remove_all()
    eventually(lambda: not Host.detect().group(path).exists(), f"{path} is left")


def launch(agent, parent, *flags):
    return agent.cli(
        *("run", "-d", "--cgroup-parent", parent, *flags, "alpine", "sleep", "1000")
    ).stdout.strip()


def limit(path):
    file = group_file(path, "memory", v1="memory.limit_in_bytes", v2="memory.max")
    return int(file.read_text())


def test_it_is_there_and_all_that_is_done_to_it_finds_it(own_agent, parent):
    one = launch(own_agent, f"{parent}/deep", "-m", "64m")
    path = f"{parent}/deep/{one}"
    detail = own_agent.detail(one)
    assert detail["cgroup_path"] == path
    assert Host.detect().group(path).pids() == [detail["state"]["pid"]]
    assert limit(path) == 64 << 20
    own_agent.post(one, "update", {"memory_max_bytes": 32 << 20})
    assert limit(path) == 32 << 20
    own_agent.post(one, "freeze")
    assert Host.detect().group(path).freezer_state() == "frozen"
    own_agent.post(one, "thaw")
    assert own_agent.exec(one, "true").exit_code == 0
    stats = own_agent.client.request("GET", f"/v1/containers/{one}/stats?stream=false")
    assert stats
    assert own_agent.cli("inspect", "-f", "{{.HostConfig.CgroupParent}}", one).stdout == (
        f"{parent}/deep\n"
    )


def test_its_agent_is_killed_and_it_goes_on(own_agent, parent):
    one, stopped = launch(own_agent, parent), launch(own_agent, parent)
    left = Host.detect().group(f"{parent}/{stopped}")
    own_agent.post(stopped, "kill", {"signal": "KILL"})
    eventually(lambda: not left.exists())
    own_agent.kill9()
    left.create()  # as if it had been killed in the middle of a start
    own_agent.start()
    assert own_agent.state(one)["status"] == "running"
    assert not left.exists()
    own_agent.kill9()
    os.kill(Host.detect().group(f"{parent}/{one}").pids()[0], signal.SIGKILL)
    own_agent.start()
    eventually(lambda: own_agent.state(one)["status"] == "exited")
    eventually(lambda: not Host.detect().group(parent).exists())


def test_a_group_that_was_there_stays(own_agent):
    group = Host.detect().group(f"{own_agent.cgroup_parent}-there")
    group.create()
    try:
        for flags in ((), ("-m", "64m"), ("--rm",)):
            one = launch(own_agent, group.path, *flags)
            own_agent.remove(one)
        eventually(lambda: group.children() == ())
        time.sleep(0.1)
        assert group.exists()
    finally:
        group.remove()


@pytest.mark.parametrize("flags", [(), ("-m", "64m"), ("--rm",), ("--init",)])
def test_nothing_is_left_of_one_that_ends(own_agent, parent, flags):
    done = own_agent.cli("run", "--cgroup-parent", parent, *flags, "alpine", "echo", "hello")
    assert (done.stdout, done.stderr) == ("hello\n", "")
    own_agent.remove_all()
    eventually(lambda: not Host.detect().group(parent).exists())


def test_below_the_agents_own(own_agent):
    one = launch(own_agent, "batch")
    assert own_agent.detail(one)["cgroup_path"] == f"{own_agent.cgroup_parent}/batch/{one}"
    own_agent.remove_all()
    eventually(lambda: "batch" not in own_agent.cgroups())


def test_what_is_refused(own_agent):
    def refused(parent):
        done = own_agent.cli("create", "--cgroup-parent", parent, "alpine", "true")
        assert done.returncode != 0
        return done.stderr

    one = own_agent.launch("sleep", "1000")
    assert "must be absolute, without empty" in refused("/a/../b")
    assert "a container's group or in one" in refused(own_agent.detail(one)["cgroup_path"])
    roots = {place.mount for place in Host.detect().placements.values()}
    agents = Membership.of(Host.detect(), own_agent.supervisor_pid).directories
    for directory in set(agents) - roots:
        root = next(r for r in roots if directory.startswith(f"{r}/"))
        assert "the group of the agent's process" in refused(directory.removeprefix(root))


def test_restarts_and_other_runtimes(own_agent, parent):
    one = launch(own_agent, parent, "--restart", "always")
    first = own_agent.state(one)["pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: (own_agent.state(one)["pid"] or first) != first)
    assert Host.detect().group(f"{parent}/{one}").pids() == [own_agent.state(one)["pid"]]
    for runtime in filter(shutil.which, ("crun", "runc")):
        other = launch(own_agent, parent, "--runtime", runtime)
        assert Host.detect().group(f"{parent}/{other}").pids() == [own_agent.state(other)["pid"]]
