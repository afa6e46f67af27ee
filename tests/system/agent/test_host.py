"""Processes and groups of the host: adopted, released, looked at, controlled; leases and events."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from cgagent.cgroups import Host
from cgagent.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)
from tests.world.agent import SLOWNESS, alive, eventually, group_file, has_v1
from tests.world.naming import cgroup_path

pytestmark = pytest.mark.system

MIB = 1 << 20
TREE = "sleep 1000 & sleep 1000 & while :; do sleep 0.1; done"


@contextmanager
def tree():
    """A process of the host with children, in a session of its own; ended as a whole."""
    process = subprocess.Popen(["sh", "-c", TREE], start_new_session=True)
    eventually(lambda: len(children(process.pid)) >= 2)
    try:
        yield process
    finally:
        for pid in [*children(process.pid), process.pid]:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        process.wait()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except FileNotFoundError:
        return []


def groups_of(pid):
    with open(f"/proc/{pid}/cgroup") as f:
        return f.read()


def groups_of_tree(pid):
    """Of a process and its children, one text each; without one that ends while we look."""
    found = []
    for one in (pid, *children(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):
            groups = groups_of(one)
            if alive(one):  # else it is from after the end, which v1 shows as the root group
                found.append(groups)
    return found


def adopt(agent, pid, **options):
    return agent.client.request("POST", "/v1/containers/adopt", {"pid": pid, **options})["id"]


@pytest.fixture
def group():
    """A group of somebody else: not below the agent's parent."""
    found = Host.detect().group(cgroup_path())
    found.create()
    yield found
    found.kill()
    found.remove()


def test_an_adopted_tree_is_limited_listed_and_put_back(agent):
    with tree() as process:
        before = groups_of(process.pid)
        one = adopt(agent, process.pid, name="adopted", limits={"memory_max_bytes": 64 * MIB})
        try:
            path = agent.detail(one)["cgroup_path"]
            seen = children(process.pid)
            inside = Host.detect().group(path).pids()
            assert process.pid in inside
            assert all(pid in inside for pid in seen if alive(pid))
            held = group_file(path, "memory", "memory.limit_in_bytes", "memory.max").read_text()
            assert held.strip() == str(64 * MIB)
            assert [c["name"] for c in agent.containers()] == ["adopted"]
            assert agent.post(one, "freeze") is None
            assert agent.state(one)["status"] == "frozen"
            agent.post(one, "thaw")
        finally:
            agent.post(one, "release")
        assert set(groups_of_tree(process.pid)) == {before}
        assert agent.containers() == []
        assert not Host.detect().group(path).exists()


def test_the_end_of_an_adopted_tree_is_noticed(agent):
    with tree() as process:
        one = adopt(agent, process.pid)
        agent.post(one, "kill?signal=KILL")
        eventually(lambda: agent.state(one)["status"] == "exited")
    assert agent.state(one)["exit_code"] is None
    agent.remove(one)


def test_what_is_not_possible_with_an_adopted_one(agent):
    with tree() as process:
        one = adopt(agent, process.pid)
        try:
            with pytest.raises(UnsupportedError, match="adopted"):
                agent.exec(one, "true")
            with pytest.raises(UnsupportedError, match="adopted"):
                agent.logs(one)
            with pytest.raises(UnsupportedError, match="adopted"):
                agent.post(one, "restart?timeout_s=0")
            assert process.poll() is None
            with pytest.raises(ConflictError, match="in a container already"):
                adopt(agent, process.pid)
        finally:
            agent.post(one, "release")


@pytest.mark.parametrize(
    ("pid", "error"), [(1, DeniedError), (2, DeniedError), (2**22 + 1, NotFoundError)]
)
def test_what_is_not_adopted(agent, pid, error):
    if pid == 2 and os.path.exists("/proc/2/exe") and os.access("/proc/2/cmdline", os.R_OK):
        with open("/proc/2/cmdline") as f:
            if f.read():
                pytest.skip("pid 2 is no kernel thread here")
    with pytest.raises(error):
        adopt(agent, pid)


def test_a_container_is_stopped_not_released(agent, container):
    one = container("sleep", "1000")
    with pytest.raises(InvalidInputError, match="stop it instead"):
        agent.post(one, "release")


@pytest.mark.native
def test_an_adopted_tree_survives_the_agent(own_agent):
    agent = own_agent
    with tree() as process:
        one = adopt(agent, process.pid)
        agent.kill9()
        agent.start()
        assert agent.state(one)["status"] == "running"
        agent.post(one, "release")
        assert agent.cgroup_parent not in groups_of(process.pid)


@pytest.mark.native
def test_an_adoption_that_was_cut_short_is_finished_or_undone(own_agent):
    """Killed at any point: the tree is a container with all its processes, or where it was."""
    agent = own_agent
    for number in range(2 if SLOWNESS > 1 else 6):
        with tree() as process:
            before = groups_of(process.pid)
            after_s = 0.004 * number * SLOWNESS
            agent.kill9_amid("/v1/containers/adopt", {"pid": process.pid}, after_s)
            agent.start()
            present = agent.containers()
            if present:
                assert present[0]["state"]["status"] == "running"
                path = agent.detail(present[0]["id"])["cgroup_path"]
                assert all(path in groups for groups in groups_of_tree(process.pid))
                agent.post(present[0]["id"], "release")
            assert set(groups_of_tree(process.pid)) == {before}
            assert agent.containers() == []
            eventually(agent.cgroups_settled)


@pytest.mark.native
def test_a_lease_ends_a_freeze(agent, container):
    one = container("sh", "-c", "while :; do :; done", limits={"cpus": 0.2})
    agent.post(one, f"freeze?lease_s={1.5 * SLOWNESS}")
    assert agent.state(one)["status"] == "frozen"
    eventually(lambda: agent.state(one)["status"] == "running", timeout_s=10)
    eventually(lambda: agent.state(one)["thaw_at_ns"] is None, timeout_s=1)


@pytest.mark.native
def test_a_lease_outlives_the_agent(own_agent):
    agent = own_agent
    one = agent.launch("sleep", "1000")
    agent.post(one, f"freeze?lease_s={1.0 * SLOWNESS}")
    agent.kill9()
    time.sleep(1.1 * SLOWNESS)
    agent.start()
    eventually(lambda: agent.state(one)["status"] == "running")


def test_groups_are_read_freely_and_changed_with_force(agent, group):
    with subprocess.Popen(["sleep", "1000"]) as process:
        group.join(process.pid)
        shown = agent.client.request("GET", f"/v1/cgroups{group.path}")
        assert shown["usage"]["pids"]["current"] == 1
        assert group.path in {n["path"] for n in agent.client.request("GET", "/v1/cgroups?depth=1")}
        freeze = {"action": "freeze", "timeout_s": 10 * SLOWNESS}
        with pytest.raises(DeniedError, match="--force"):
            agent.client.request("POST", f"/v1/cgroups{group.path}", freeze)
        assert group.freezer_state() == "thawed"
        agent.client.request("POST", f"/v1/cgroups{group.path}", {**freeze, "force": True})
        assert group.freezer_state() == "frozen"
        limits = {"action": "set", "force": True, "limits": {"pids_max": 7}}
        agent.client.request("POST", f"/v1/cgroups{group.path}", limits)
        assert group.held().pids_max == 7
        kill = {"action": "kill", "force": True, "timeout_s": 10 * SLOWNESS}
        agent.client.request("POST", f"/v1/cgroups{group.path}", kill)
        assert process.wait(10 * SLOWNESS) == -9


def test_a_group_whose_name_is_not_utf8(agent, group):
    odd = Host.detect().group(f"{group.path}/{os.fsdecode(bytes([255]))}")
    odd.create()
    try:
        assert odd.path in {n["path"] for n in agent.client.request("GET", "/v1/cgroups")}
        shown = agent.cli("cgroup", "show", odd.path)
        assert json.loads(shown.stdout)["path"] == odd.path
        assert r"/\xff" in agent.cli("cgroup", "ls", group.path).stdout
    finally:
        odd.remove()
    gone = agent.cli("cgroup", "show", odd.path)
    assert gone.returncode == 1
    assert r"/\xff does not exist" in gone.stderr


def test_the_root_group_is_never_changed(agent):
    with pytest.raises(DeniedError):
        agent.client.request("POST", "/v1/cgroups/", {"action": "kill", "force": True})


def test_cgroup_on_the_command_line(agent, container):
    one = container("sleep", "1000")
    path = agent.detail(one)["cgroup_path"]
    listed = agent.cli("cgroup", "tree", agent.cgroup_parent)
    assert listed.returncode == 0
    assert path in listed.stdout
    assert agent.cli("cgroup", "set", "--pids-limit", "9", path).returncode == 0
    shown = json.loads(agent.cli("cgroup", "show", path).stdout)
    assert shown["limits_held"]["pids_max"] == 9
    drift = {d["name"]: d for d in agent.detail(one)["drift"]}
    assert drift.get("pids_max") is None  # it was not asked for any
    absent = agent.cli("cgroup", "show", "/cgagent-test-absent")
    assert absent.returncode == 1
    assert "does not exist" in absent.stderr


def test_drift_shows_what_somebody_else_changed(agent, container):
    one = container("sleep", "1000", limits={"pids_max": 20})
    assert agent.detail(one)["drift"] == []
    file = agent.cgroup_file(one, "pids", v1="pids.max", v2="pids.max")
    file.write_text("33")
    assert agent.detail(one)["drift"] == [{"name": "pids_max", "asked": 20, "held": 33}]

    def exposed():
        text = agent.client.connect()
        with text.socket:
            text.send("GET", "/metrics", None)
            _, headers = text.head()
            body = b"".join(text.pieces(headers)).decode()
        lines = [x for x in body.splitlines() if x.startswith("cgagent_container_limit_drift{")]
        return any(one in x and 'limit="pids_max"' in x for x in lines)

    eventually(exposed, timeout_s=15)  # limits are sampled every 10 s


def test_an_oom_kill_is_an_event_with_its_cause(agent, container):
    one = container(
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"x = bytearray({96 * MIB})",
        image="host",
        limits={"memory_max_bytes": 48 * MIB, "memory_swap_max_bytes": 0},
    )
    agent.wait(one)
    state = agent.state(one)
    assert state["oom_killed"]
    assert state["oom"]["limiting_group"] == agent.detail(one)["cgroup_path"]
    assert state["oom"]["limit_bytes"] == 48 * MIB
    told = [
        e
        for e in agent.client.lines("GET", "/v1/events")
        if e["id"] == one and e["action"] == "oom"
    ]
    assert len(told) == 1
    assert told[0]["attributes"]["victims"] == "1"


@pytest.mark.native
def test_an_oom_of_the_parents_limit_names_the_parent(own_agent):
    agent = own_agent
    limits = {"memory_max_bytes": 80 * MIB, "memory_swap_max_bytes": 0}
    body = {"action": "set", "limits": limits}
    agent.client.request("POST", f"/v1/cgroups{agent.cgroup_parent}", body)
    one = agent.create(
        sys.executable, "-I", "-S", "-c", f"x = bytearray({160 * MIB})", image="host"
    )
    agent.post(one, "start")
    agent.wait(one)
    assert agent.state(one)["oom"]["limiting_group"] == agent.cgroup_parent


ZOMBIE = """
import os, sys, threading, time
child = os.fork()
if not child:
    os._exit(0)
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print(child, threading.enumerate()[1].native_id, flush=True)
time.sleep(1000)
"""


def test_a_zombie_and_a_thread_are_not_adopted_but_their_process_is(agent):
    parent = subprocess.Popen([sys.executable, "-c", ZOMBIE], stdout=subprocess.PIPE, text=True)
    try:
        zombie, thread = parent.stdout.readline().split()
        eventually(lambda: not alive(int(zombie)))
        before = agent.log.read_text().count("Traceback")
        with pytest.raises(ConflictError, match=f"process {parent.pid}, to take note .a zombie."):
            adopt(agent, int(zombie))
        with pytest.raises(InvalidInputError, match=f"is a thread of process {parent.pid}; adopt"):
            adopt(agent, int(thread))
        adopted = adopt(agent, parent.pid)
        agent.post(adopted, "release")
        assert agent.log.read_text().count("Traceback") == before
    finally:
        parent.kill()
        parent.communicate()


EAT = ("sh", "-c", "tail /dev/zero; true")
SMALL = {"memory_max_bytes": 32 * MIB, "memory_swap_max_bytes": 0}


def ooms(agent, container):
    events = agent.client.lines("GET", "/v1/events")
    return [e for e in events if e["id"] == container and e["action"] == "oom"]


def test_an_oom_kill_of_a_command_inside_is_not_the_containers_end(agent, container):
    one = container("sleep", "1000", limits=SMALL)
    agent.exec(one, *EAT)
    eventually(lambda: ooms(agent, one))
    state = agent.state(one)
    assert (state["status"], state["oom_killed"]) == ("running", False)
    assert state["oom"]["limit_bytes"] == 32 * MIB
    assert time.time_ns() - state["oom"]["at_ns"] < 30e9 * SLOWNESS
    time.sleep(0.1)  # what ends with a kill ends at once
    agent.post(one, "kill")
    assert agent.wait(one) == 137
    state = agent.state(one)
    assert not state["oom_killed"]
    assert state["oom"]["victims"] == 1
    assert len(ooms(agent, one)) == 1


def test_a_container_that_outlives_an_oom_kill_did_not_end_by_it(agent, container):
    one = container(*EAT, limits=SMALL)
    assert agent.wait(one) == 0
    state = agent.state(one)
    assert (state["oom_killed"], state["oom"]["victims"]) == (False, 1)


def test_an_oom_kill_for_the_limit_of_a_group_below_is_told_at_its_time(agent, container):
    if not has_v1("memory"):
        pytest.skip("v2: the group above has processes, so those below have no controllers")
    one = container("sleep", "1000")
    group = Host.detect().group(agent.detail(one)["cgroup_path"] + "/below")
    group.create()
    limit = group_file(group.path, "memory", "memory.limit_in_bytes", "memory.max")
    limit.write_text(str(16 * MIB))
    eater = subprocess.Popen(["sh", "-c", "read go; exec tail /dev/zero"], stdin=subprocess.PIPE)
    group_file(group.path, "memory", "cgroup.procs", "cgroup.procs").write_text(str(eater.pid))
    eater.communicate(b"\n")
    assert eater.returncode == -9
    eventually(lambda: ooms(agent, one))
    assert agent.state(one)["oom"]["limiting_group"] == group.path
    assert not agent.state(one)["oom_killed"]


def test_refused_forks_are_an_event(agent, container):
    script = "for i in 1 2 3 4 5 6; do sleep 1000 & done; sleep 1000"
    one = container("sh", "-c", script, limits={"pids_max": 3})
    eventually(
        lambda: any(
            e["id"] == one and e["action"] == "pids-refused"
            for e in agent.client.lines("GET", "/v1/events")
        )
    )


def test_a_limit_below_use_is_refused_without_a_kill(agent, container):
    script = f"x = b'x' * {90 * MIB}; print('ready', flush=True); import time; time.sleep(1000)"
    command = (sys.executable, "-I", "-S", "-c", script)
    limits = {"memory_max_bytes": 200 * MIB, "memory_swap_max_bytes": 0}
    one = container(*command, image="host", limits=limits)
    eventually(lambda: "ready" in agent.log_text(one), timeout_s=20)
    body = {"memory_max_bytes": 40 * MIB, "memory_swap_max_bytes": 0}
    with pytest.raises(ConflictError, match="--force"):
        agent.post(one, "update", body)
    assert agent.state(one)["status"] == "running"
    held = agent.cgroup_file(one, "memory", v1="memory.limit_in_bytes", v2="memory.max")
    assert held.read_text().strip() == str(200 * MIB)


def test_what_another_program_freezes_is_shown_and_told(agent, container):
    """In `ps`, which shows the record, and as events that say so."""
    one = container("sh", "-c", "while :; do :; done")
    group = Host.detect().group(agent.detail(one)["cgroup_path"])
    group.freeze()
    eventually(lambda: agent.listed(one)["state"]["status"] == "frozen", "frozen")
    group.thaw()
    eventually(lambda: agent.listed(one)["state"]["status"] == "running", "running")
    agent.post(one, "freeze")
    assert agent.listed(one)["state"]["status"] == "frozen"
    agent.post(one, "thaw")
    assert agent.listed(one)["state"]["status"] == "running"
    events = [e for e in agent.client.lines("GET", "/v1/events") if e["id"] == one]
    told = [(e["action"], e["attributes"].get("by")) for e in events if "pause" in e["action"]]
    others = [("pause", "another program"), ("unpause", "another program")]
    assert told == [*others, ("pause", None), ("unpause", None)]
