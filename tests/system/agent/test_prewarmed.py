"""The root of the next container is made before that is asked for: that of one like the last.

Whatever is asked for then, it is had; and nothing is left where nobody asks.
"""

import contextlib
import os
import signal

import pytest

from tests.world.agent import eventually, members

pytestmark = pytest.mark.system


def prewarmed(agent):
    """By id, the processes that wait in the root of a container which is not there yet."""
    found = {}
    for one in agent.cgroups() - {c["id"] for c in agent.containers()}:
        pids = members(f"{agent.cgroup_parent}/{one}", "pids")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # given up just now
            if pids and not os.path.samefile(f"/proc/{pids[0]}/root", "/"):
                found[one] = pids[0]
    return found


def roots(agent):
    return set(os.listdir(agent.data_root / "containers-rw"))


@pytest.fixture
def after(own_agent):
    """An agent that has had such a container, and has the root of another like it."""

    def run(*command, **options):
        own_agent.run(*command, **options)
        eventually(lambda: own_agent.pool_is_full() and prewarmed(own_agent))
        return own_agent

    return run


@pytest.mark.native
def test_the_next_one_takes_the_process_that_is_in_its_root(after):
    agent = after("true")
    for _ in range(5):  # it may be in its root, and its agent not know that yet
        ((expected, pid),) = prewarmed(agent).items()
        one = agent.create("sleep", "1000", auto_remove=True)
        if one == expected:
            break
        eventually(lambda: prewarmed(agent))
    assert one == expected
    agent.post(one, "start")
    assert agent.state(one)["pid"] == pid


@pytest.mark.native
def test_it_runs_what_it_was_asked_to_as_whom_and_where(after):
    agent = after("true", working_dir="/made", env=["WORD=old", "OLD=1"], user="daemon")
    done = agent.run(
        *("sh", "-c", "id -un; pwd; echo $WORD$OLD; ulimit -n; ls -d /made; cat /etc/hostname"),
        user="nobody",
        working_dir="/new",
        env=["WORD=new"],
        limits={"pids_max": 7},
    )
    *lines, name = done.stdout.splitlines()
    assert lines[:3] == ["nobody", "/new", "new"]
    assert "/made" not in lines  # made for nobody
    assert len(name) == 12


@pytest.mark.native
@pytest.mark.parametrize(
    ("options", "command", "expected"),
    [
        ({"image": "busybox"}, "ls /etc/alpine-release 2>/dev/null; echo $?", "1\n"),
        ({"read_only": True}, "touch /x 2>/dev/null; echo $?", "1\n"),
        ({"read_only": True, "working_dir": "/new"}, "pwd; touch x 2>/dev/null", "/new\n"),
        ({"hostname": "other"}, "hostname; cat /etc/hostname", "other\nother\n"),
        ({"shm_size_bytes": 1 << 20}, "df -k /dev/shm | awk 'END { print $2 }'", "1024\n"),
        ({"cap_drop": ["ALL"]}, "grep CapEff /proc/self/status | cut -f2", f"{0:016x}\n"),
        ({"tty": True}, "tty", "/dev/pts/0\r\n"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_one_of_another_kind_has_its_own(
    own_agent, busybox_docker_archive, options, command, expected
):
    agent = own_agent
    agent.load(busybox_docker_archive)
    for kind in ({}, options, {}):
        wanted = expected if kind else "3\n"
        said = agent.run("sh", "-c", command if kind else "echo 3", **kind).stdout
        assert said == wanted
        eventually(agent.pool_is_full)
    assert len(prewarmed(agent)) <= 2


@pytest.mark.native
def test_an_image_is_removed_though_one_of_its_containers_is_foreseen(after):
    agent = after("true")
    removed = agent.cli("rmi", "alpine")
    assert removed.returncode == 0, removed.stderr
    assert prewarmed(agent) == {}
    assert roots(agent) == set()
    eventually(agent.pool_is_full)


@pytest.mark.native
def test_one_that_dies_is_given_to_nobody(after):
    agent = after("true")
    ((lost, pid),) = prewarmed(agent).items()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: lost not in agent.cgroups() and lost not in roots(agent))
    one = agent.create("true", auto_remove=True)
    assert one != lost
    agent.remove(one)


@pytest.mark.native
@pytest.mark.parametrize("killed", ["supervisor", "keeper", "both"])
def test_those_who_keep_it_may_die(after, killed):
    agent = after("true")
    before = agent.keeper_pid
    getattr(agent, f"kill9_{killed}")()
    if killed == "both":  # until it is noticed nothing can be started
        eventually(lambda: agent.keeper_pid != before)
    assert agent.run("echo", "here").stdout == "here\n"
    eventually(lambda: roots(agent) == set(prewarmed(agent)))


@pytest.mark.native
def test_nothing_of_it_is_left_by_an_agent_that_dies(after):
    agent = after("true")
    ((lost, _),) = prewarmed(agent).items()
    agent.kill9()
    agent.start()
    eventually(agent.pool_is_full)
    assert lost not in agent.cgroups() | roots(agent)


@pytest.mark.native
def test_nothing_of_it_is_left_by_an_agent_that_ends(after):
    agent = after("true")
    agent.stop()
    assert roots(agent) == set()
    agent.start()


@pytest.mark.native
def test_what_cannot_be_made_ahead_is_told_to_whoever_asks_for_it(after):
    """The short name of its image's layer is gone, without which there is no root."""
    agent = after("true")
    (link,) = (agent.data_root / "l").iterdir()
    target = os.readlink(link)
    link.unlink()
    assert agent.run("true").exit_code == 0  # this one's was made before
    eventually(lambda: agent.pool_is_full() and not prewarmed(agent))
    refused = agent.cli("run", "--rm", "alpine", "true")
    assert refused.returncode == 125
    assert "'cgagent system check --repair' unpacks it again" in refused.stderr
    link.symlink_to(target)
    assert agent.run("true").exit_code == 0


@pytest.mark.native
def test_files_of_one_that_removed_itself_are_gone_when_they_matter(own_agent):
    """To whoever removes its image, and to an agent that is started again."""
    agent = own_agent
    assert agent.cli("run", "--rm", "alpine", "touch", "/x").returncode == 0
    removed = agent.cli("rmi", "alpine")
    assert removed.returncode == 0, removed.stderr
    assert roots(agent) == set()


@pytest.mark.native
def test_files_of_one_that_removed_itself_are_not_left_by_an_agent_that_dies(own_agent):
    agent = own_agent
    agent.run("touch", "/x")
    agent.kill9()
    agent.start()
    eventually(agent.pool_is_full)
    assert roots(agent) == set()
    assert os.listdir(agent.data_root / "containers") == []


@pytest.mark.native
def test_a_command_that_does_not_fit_a_packet_has_its_output_and_exit_code(after):
    agent = after("true")
    done = agent.run("sh", "-c", "echo ${#0}; exit 3", "x" * 40_000)
    assert (done.stdout, done.exit_code) == ("40000\n", 3)
