"""Groups of containers: limits and budgets that these share, freezing as one, and moves."""

import contextlib
import json
import os
import random
import urllib.request
from pathlib import Path
from time import sleep

import pytest

from cgagent.cgroups import Host
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from tests.world.agent import eventually, group_file

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("CGAGENT_TEST_POLICY_KILLS", "2"))
"""Of the agent amid what it does for a group; more by hand."""

FORKS = "(while :; do sleep 0.01; done) & while :; do sleep 0.015; done"
"""Two shells, each with another process at nearly any time."""
BUSY = ("sh", "-c", "while :; do :; done")


@pytest.fixture
def group(agent):
    """Make a group: ``group(name, **body)``; all go with their containers at the end."""
    made = []

    def make(name, of=agent, **body):
        answer = of.client.request("POST", "/v1/groups", {"name": name, **body})
        made.append((of, name))
        return answer

    yield make
    for of, name in reversed(made):
        path = f"{of.cgroup_parent}/{name}"
        with contextlib.suppress(NotFoundError):
            of.client.request("DELETE", f"/v1/groups/{name}?force=true")
        eventually(lambda path=path: not Host.detect().group(path).exists())


def ask(agent, name, verb="", body=None, method="POST"):
    return agent.client.request(method, f"/v1/groups/{name}{verb and '/'}{verb}", body)


def look(agent, name, verb=""):
    return ask(agent, name, verb, method="GET")


def move(agent, one, name):
    return agent.client.request("POST", f"/v1/containers/{one}/group", {"group": name})


def memory_limit(path):
    file = group_file(path, "memory", v1="memory.limit_in_bytes", v2="memory.max")
    return file.read_text().strip()


def directories(path):
    host = Host.detect()
    roots = [host.unified.mount] if host.unified else []
    return [root + path for root in (*roots, *host.v1_mounts) if os.path.isdir(root + path)]


def inside(path):
    """Pids by hierarchy."""
    return {
        frozenset(map(int, Path(d, "cgroup.procs").read_text().split())) for d in directories(path)
    }


def test_limits_are_shared_and_shown_and_the_quota_holds(agent, group, container):
    limits = {"memory_max_bytes": 64 << 20, "cpus": 1, "pids_max": 100}
    made = group("team-a", limits=limits, max_containers=2, labels={"tier": "one"})
    path = f"{agent.cgroup_parent}/team-a"
    assert (made["cgroup_path"], made["limits"]["memory_max_bytes"]) == (path, 64 << 20)
    assert memory_limit(path) == str(64 << 20)
    group("team-a/backend", limits={"memory_max_bytes": 32 << 20})
    with pytest.raises(ConflictError, match="group 'team-a' exists"):
        group("team-a")
    with pytest.raises(NotFoundError, match="group 'none' does not exist"):
        group("none/below")
    with pytest.raises(InvalidInputError, match="begins with a letter"):
        group("team a")
    web = container("sleep", "1000", group="team-a", limits={"memory_max_bytes": 16 << 20})
    low = container("sleep", "1000", cgroup_parent="team-a/backend")
    assert agent.detail(web)["cgroup_path"] == f"{path}/{web}"
    assert memory_limit(f"{path}/{web}") == str(16 << 20)
    assert [agent.detail(one)["group"] for one in (web, low)] == ["team-a", "team-a/backend"]
    with pytest.raises(ConflictError, match="has 2 of at most 2 containers"):
        agent.create("true", group="team-a/backend")
    assert not agent.client.request("GET", "/v1/capacity?memory_bytes=1000&group=team-a")["fits"]
    with pytest.raises(ConflictError, match="exclude each other"):
        agent.client.request("GET", "/v1/capacity?memory_bytes=1000&group=team-a&parent=other")
    assert look(agent, "team-a")["groups"] == ["team-a/backend"]
    assert look(agent, "team-a")["drift"] == []
    changed = ask(agent, "team-a", "update", {"memory_max_bytes": 48 << 20, "max_containers": -1})
    assert (changed["limits_held"]["memory_max_bytes"], changed["max_containers"]) == (
        48 << 20,
        None,
    )
    listed = agent.client.request("GET", "/v1/containers?filter=group%3Dteam-a")
    assert {c["id"] for c in listed} == {web, low}
    eventually(lambda: look(agent, "team-a", "stats")["usage"]["pids"]["current"] == 2)
    eventually(lambda: 'cgagent_group_pids{group="team-a"} 2' in scraped(agent))
    assert 'cgagent_group_memory_limit_bytes{group="team-a"} 5.0331648e+07' in scraped(agent)
    with pytest.raises(ConflictError, match="has 2 containers in it"):
        ask(agent, "team-a", method="DELETE")
    ask(agent, "team-a?force=true", method="DELETE")
    assert not {web, low} & {c["id"] for c in agent.containers()}
    assert not Host.detect().group(path).exists()


def scraped(agent):
    with urllib.request.urlopen(f"http://{agent.metrics}/metrics") as answer:
        return answer.read().decode()


def test_it_is_frozen_thawed_and_killed_as_one(agent, group, container):
    group("team-f")
    group("team-f/low")
    own = container("sleep", "1000", group="team-f")
    other = container("sleep", "1000", group="team-f/low", restart={"name": "always"})
    later = container("sleep", "1000", group="team-f", start=False)
    agent.post(own, "freeze")
    ask(agent, "team-f", "freeze")
    for one in (own, other):
        assert agent.state(one)["status"] == "frozen"
        assert agent.detail(one)["frozen_by"] == "team-f"
    assert "(Frozen with group team-f)" in agent.cli("ps").stdout
    for refused in (
        lambda: agent.post(later, "start"),
        lambda: agent.post(other, "thaw"),
        lambda: ask(agent, "team-f/low", "thaw"),
        lambda: move(agent, other, ""),
    ):
        with pytest.raises(ConflictError, match="cgagent group thaw team-f"):
            refused()
    with pytest.raises(ConflictError, match="frozen already"):
        ask(agent, "team-f", "freeze")
    ask(agent, "team-f", "thaw")
    assert [agent.state(one)["status"] for one in (own, other)] == ["frozen", "running"]
    agent.post(own, "thaw")
    ask(agent, "team-f", "freeze")
    killed = ask(agent, "team-f", "kill")["killed"]
    assert len(killed) == 2
    assert {agent.state(one)["exit_code"] for one in (own, other)} == {137}
    ask(agent, "team-f", "thaw")
    agent.post(later, "start")
    assert agent.state(other)["status"] == "exited"


def test_its_budget_is_of_all_that_have_been_in_it(agent, group, container):
    group("team-b")
    second = container("sleep", "1000", group="team-b")
    first = container(*BUSY, group="team-b")
    ask(agent, "team-b", "update", {"budget": "cpu=0.4s/1h:throttle=0.3"})
    eventually(lambda: look(agent, "team-b")["budgets"][0]["state"] == "done")
    assert holders(agent, "team-b") == ["budget"]
    shown = look(agent, "team-b")
    assert (shown["limits_held"]["cpu_quota_us"], shown["drift"]) == (30_000, [])
    told = agent.cli("policy", "log", "--group", "team-b").stdout.splitlines()
    assert len(told) == 1
    assert " budget: throttle team-b: done: " in told[0]
    assert agent.client.request("GET", f"/v1/decisions?container={first}") == []
    (spent,) = shown["budgets"]
    assert spent["used"] >= spent["amount"]
    agent.remove(first)
    move(agent, second, "")
    assert look(agent, "team-b")["budgets"][0]["used"] >= spent["used"]
    assert 'cgagent_group_budget_acted{group="team-b",resource="cpu"} 1.0' in scraped(agent)
    ask(agent, "team-b", "update", {"cpus": 0.5})
    eventually(lambda: look(agent, "team-b")["budgets"][0]["state"] == "given up")
    assert holders(agent, "team-b") == []


def holders(agent, name):
    return [one["owner"] for one in look(agent, name)["overrides"]]


@pytest.mark.native
def test_whenever_the_agent_is_killed_what_holds_a_group_has_an_owner(own_agent, group):
    """Amid a weight, a cap, a freeze and a budget that come and go."""
    agent, chance = own_agent, random.Random(5)  # noqa: S311
    group("team", of=agent, budget="cpu=0.2s/2s:throttle=0.05")
    before = look(agent, "team")["limits_held"]
    one = agent.launch(*BUSY, group="team")
    table = {
        "name": "crash",
        "select": {"group": "team", "whole": True},
        "when": {"detector": "pids-above", "above": 0},
        "grade": [
            *({"action": "weight", "cpu": 7}, {"action": "cpu-cap", "cpus": 0.3}),
            {"action": "freeze", "for": "0.5s"},
        ],
        "cool-down": 0,
    }
    agent.client.request("POST", "/v1/policies", {"ruleset": [table]})
    for _ in range(KILLS):
        sleep(chance.uniform(0, 1))
        agent.kill9()
        agent.start()
        eventually(lambda: is_answered_for(agent, "team"))
    agent.client.request("DELETE", "/v1/policies/crash")
    ask(agent, "team", "update", {"budget": "off"})
    eventually(lambda: look(agent, "team")["overrides"] == [])
    eventually(lambda: agent.state(one)["status"] == "running")
    shown = look(agent, "team")
    assert (shown["limits_held"], shown["drift"], shown["status"]) == (before, [], "thawed")


def is_answered_for(agent, name):
    """The kernel holds what is in force, and what is not its user's has somebody behind it."""
    shown = look(agent, name)
    holds = agent.client.request("GET", "/v1/policies/crash")["holds"]
    answering = {
        "policy.crash": bool(holds),
        "budget": any(one["state"] == "done" for one in shown["budgets"]),
    }
    return not shown["drift"] and all(answering[one["owner"]] for one in shown["overrides"])


def test_a_container_is_moved_while_it_forks(agent, group, container):
    group("team-m", limits={"memory_max_bytes": 256 << 20})
    group("team-m/low")
    one = container("sh", "-c", FORKS, limits={"memory_max_bytes": 128 << 20, "pids_max": 50})
    first = agent.detail(one)["state"]["pid"]
    before = 0
    for name in ("team-m", "team-m/low", "", "team-m"):
        old = agent.detail(one)["cgroup_path"]
        shown = move(agent, one, name)
        path = shown["cgroup_path"]
        assert path == "/".join(filter(None, (agent.cgroup_parent, name, one)))
        assert (shown["group"], shown["state"]["status"], shown["drift"]) == (name, "running", [])
        assert not directories(old)
        assert memory_limit(path) == str(128 << 20)
        assert all(first in pids for pids in inside(path))
        used = stats(agent, one)["usage"]["cpu"]["usage_ns"]
        assert used >= before
        before = used
    assert before > 0
    limit = "cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert agent.exec(one, "sh", "-c", f"({limit}) 2>&-").stdout == f"{128 << 20}\n"
    assert agent.exec(one, "sh", "-c", "echo 1 >/sys/fs/cgroup/cgroup.procs").exit_code != 0
    agent.post(one, "freeze")
    assert move(agent, one, "")["state"]["status"] == "frozen"
    agent.post(one, "thaw")
    agent.post(one, "kill")
    assert agent.wait(one) == 137
    assert move(agent, one, "team-m")["group"] == "team-m"
    agent.post(one, "start")
    assert agent.detail(one)["cgroup_path"] == f"{agent.cgroup_parent}/team-m/{one}"


def stats(agent, one):
    return agent.client.request("GET", f"/v1/containers/{one}/stats?stream=false")


def test_one_with_groups_of_its_own_is_not_moved(agent, group, container):
    group("team-n")
    one = container("sleep", "1000")
    nested = f"{Host.detect().group(agent.detail(one)['cgroup_path']).unified_dir()}/inner"
    os.mkdir(nested)
    with pytest.raises(ConflictError, match="group inner is below it"):
        move(agent, one, "team-n")
    assert agent.state(one)["status"] == "running"
    os.rmdir(nested)
    move(agent, one, "team-n")


def test_the_oom_killer_is_seen_after_a_move(agent, group, container):
    group("team-o")
    one = container("sh", "-c", "read x; tail /dev/zero", stdin=True)
    agent.post(one, "update", {"memory_max_bytes": 16 << 20, "memory_swap_max_bytes": 0})
    move(agent, one, "team-o")
    pid = agent.detail(one)["state"]["pid"]
    with open(f"/proc/{pid}/fd/0", "wb", buffering=0, opener=_writing) as stdin:
        stdin.write(b"\n")
    agent.wait(one)
    state = agent.state(one)
    assert state["oom_killed"]
    assert state["oom"]["limiting_group"].endswith(f"team-o/{one}")


def _writing(path, _flags):
    return os.open(path, os.O_WRONLY)


@pytest.mark.native
def test_groups_outlive_their_agent_and_their_cgroups(own_agent, group):
    group("team", of=own_agent, limits={"memory_max_bytes": 64 << 20})
    group("team/low", of=own_agent, limits={"pids_max": 20})
    path = f"{own_agent.cgroup_parent}/team"
    one = own_agent.launch("sleep", "1000", group="team/low", restart={"name": "always"})
    own_agent.kill9()
    own_agent.start()
    assert own_agent.detail(one)["group"] == "team/low"
    ask(own_agent, "team", "freeze")
    own_agent.kill9()
    own_agent.start()
    assert own_agent.detail(one)["frozen_by"] == "team"
    ask(own_agent, "team", "thaw")
    own_agent.remove(one)
    own_agent.stop()
    assert not directories(path)  # as after a reboot
    own_agent.start()
    assert memory_limit(path) == str(64 << 20)
    for directory in (*directories(f"{path}/low"), *directories(path)):
        os.rmdir(directory)
    one = own_agent.launch("sleep", "1000", group="team/low")
    assert memory_limit(path) == str(64 << 20)
    assert look(own_agent, "team/low")["drift"] == []
    assert own_agent.state(one)["status"] == "running"


@pytest.mark.native
def test_an_agent_is_killed_in_the_middle_of_moves(own_agent, group):
    chance = random.Random(7)  # noqa: S311 - the same each time
    group("team", of=own_agent)
    # room for dead tasks: the kernel takes its time with them where CPUs are short
    one = own_agent.launch("sh", "-c", FORKS, limits={"memory_max_bytes": 256 << 20})
    first = own_agent.detail(one)["state"]["pid"]
    parent = own_agent.cgroup_parent
    for number in range(4):
        name = "" if number % 2 else "team"
        body = {"group": name}
        own_agent.kill9_amid(f"/v1/containers/{one}/group", body, chance.uniform(0, 0.06))
        own_agent.start()
        shown = own_agent.detail(one)
        path = shown["cgroup_path"]
        other = {f"{parent}/{one}", f"{parent}/team/{one}"} - {path}
        assert not directories(other.pop()), number
        assert shown["state"]["status"] == "running", shown["state"]
        assert shown["drift"] == [], number
        assert all(first in pids for pids in inside(path)), number
        if shown["group"] != name:
            move(own_agent, one, name)


@pytest.mark.native
def test_the_command_line(agent, group, container):
    def cli(*words, code=0):
        done = agent.cli("group", *words)
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    group("shown", limits={"memory_max_bytes": 64 << 20, "cpus": 0.5})
    bounds = ("--pids-limit", "30", "--max-containers", "1", "--budget", "cpu=1h/1d:throttle=1")
    assert cli("create", *bounds, "shown/low") == "shown/low\n"
    container("sleep", "1000", name="in-shown", group="shown")
    rows = [line.split() for line in cli("ls").splitlines()[1:]]
    assert ["shown", "1", "1", "64MiB", "0.5", "--", "--", "thawed"] in rows
    assert ["shown/low", "0/1", "0", "--", "--", "30", "cpu", "0%", "thawed"] in rows
    assert cli("add", "shown/low", "in-shown") == "in-shown\n"
    assert json.loads(cli("inspect", "shown/low"))[0]["containers"] == ["in-shown"]
    assert agent.cli("inspect", "-f", "{{.Group}}", "in-shown").stdout == "shown/low\n"
    assert "shown/low" in cli("stats", "shown/low")
    assert cli("update", "--max-containers", "-1", "shown/low") == "shown/low\n"
    refused = cli("update", "--budget", "net=1g/1d:throttle=1m", "shown", code=1)
    assert "no network interfaces that could be throttled" in refused
    line = "$ cgagent group update --memory "
    eventually(lambda: line in agent.cli("advise", "shown/low").stdout)
    assert line in agent.cli("advise", "--groups").stdout
    assert cli("freeze", "--for", "1h", "shown") == "shown\n"
    assert cli("thaw", "shown") == "shown\n"
    assert cli("leave", "in-shown") == "in-shown\n"
    assert "nothing ran in it" in cli("kill", "shown")
    assert cli("rm", "shown/low") == "shown/low\n"
    assert "does not exist" in cli("rm", "shown/low", code=1)
