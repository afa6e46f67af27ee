"""Rulesets on a real kernel: pressure made by a quota, and what is done about it and undone."""

import json
import os
import random
import re
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from tests.world.agent import SLOWNESS, Agent, eventually

pytestmark = pytest.mark.system

SHIPPED = Path(__file__).parents[3] / "deploy/policies"
KILLS = int(os.environ.get("CGAGENT_TEST_POLICY_KILLS", "3" if SLOWNESS == 1 else "1"))
BUSY = ("sh", "-c", "while :; do :; done")
SLOW = {"cpu_quota_us": 10_000, "cpu_period_us": 100_000}
"""A tenth of a CPU: who is busy in that waits most of the time."""
WAITS = {"detector": "pressure-above", "resource": "cpu", "kind": "some", "above": "10%"}
WEIGHT = {"action": "weight", "cpu": 7}


@pytest.fixture
def policy(agent):
    """Add a ruleset that is removed after the test: ``policy(name, **fields)``."""
    made = []

    def add(name, **fields):
        table = {"name": name, "when": {**WAITS, "clear": "2%"}, "grade": [WEIGHT], **fields}
        agent.client.request("POST", "/v1/policies", {"ruleset": [table]})
        made.append(name)

    yield add
    for name in made:
        agent.client.request("DELETE", f"/v1/policies/{name}")


def decisions(agent, name):
    """The oldest first."""
    return agent.client.request("GET", f"/v1/decisions?policy={name}")[::-1]


def owners(agent, container):
    return [one["owner"] for one in agent.detail(container)["overrides"]]


def is_answered_for(agent, container):
    """The kernel holds what is in force, and what is not its user's has somebody behind it."""
    detail = agent.detail(container)
    holds = agent.client.request("GET", "/v1/policies/crash")["holds"]
    answering = {
        "policy.crash": f"container {detail['name']}" in {one["target"] for one in holds},
        "budget": any(one["state"] == "done" for one in detail["budgets"]),
        "boost": detail["state"]["boost_until_ns"] is not None,
    }
    has_end = detail["state"]["status"] != "frozen" or detail["state"]["thaw_at_ns"] is not None
    is_held = not detail["drift"] and all(answering[one["owner"]] for one in detail["overrides"])
    return is_held and has_end


def held_weight(agent, container):
    held = agent.detail(container)["limits_held"]
    return held["cpu_weight"] if "cpu_weight" in held else held["cpu_shares"]


def test_from_gentle_to_harsh_each_in_its_time(agent, container, policy):
    freeze = {"action": "freeze", "for": "2s", "after": "1s"}
    kill = {"action": "kill", "after": "2s"}
    one = container(*BUSY, limits=SLOW, labels={"ladder": "1"})
    grades = [WEIGHT, {"action": "cpuset", "leave": 1}, freeze, kill]
    policy("ladder", select={"label": "ladder"}, grade=grades, **{"cool-down": "1h"})
    assert agent.wait(one) == 137
    done = eventually(
        lambda: (d := [d for d in decisions(agent, "ladder") if d["outcome"] == "done"])[3:] and d
    )
    assert [d["action"] for d in done] == ["weight", "cpuset", "freeze", "kill"]
    assert {d["container"] for d in done} == {one}
    assert "cpu some 10s pressure" in done[0]["reason"]
    for earlier, later, after_s in ((1, 2, 1), (2, 3, 2)):
        assert done[later]["time_ns"] - done[earlier]["time_ns"] >= after_s * 10**9
    events = agent.client.lines("GET", "/v1/events?filter=type=policy")
    told = [e["action"] for e in events if e["id"] == "ladder"]
    assert [action for action in told if action != "none"][:3] == ["weight", "cpuset", "freeze"]
    with urlopen(f"http://{agent.metrics}/metrics") as answer:
        text = answer.read().decode()
    for action in ("weight", "cpuset", "freeze", "kill"):
        assert f'cgagent_policy_decisions_total{{action="{action}",policy="ladder"}} 1.0' in text


@pytest.mark.native
def test_a_neighbour_is_slowed_down_until_nobody_waits_or_its_user_says_otherwise(
    agent, container, policy
):
    web = container(*BUSY, limits=SLOW, labels={"front": "1"})
    spared = container(*BUSY, labels={"batch": "1", "cgagent.policy": "omit"})
    quiet = container("sleep", "1000", labels={"batch": "1"})
    noisy = container(*BUSY, limits=SLOW, labels={"batch": "1"})
    against = {"label": "batch", "most": "cpu", "at-least": 0.01}
    times = {"cool-down": "1h", "clear-for": "1s"}
    policy("calm", select={"label": "front"}, against=against, **times)
    eventually(lambda: owners(agent, noisy) == ["policy.calm"])
    assert owners(agent, spared) == owners(agent, quiet) == owners(agent, web) == []
    slowed = held_weight(agent, noisy)
    assert agent.detail(noisy)["drift"] == []
    assert re.search(
        r"container \S+: cpu [0-9.]+ cores", agent.detail(noisy)["overrides"][0]["reason"]
    )
    agent.post(web, "stop?timeout_s=0")
    eventually(lambda: owners(agent, noisy) == [])
    assert held_weight(agent, noisy) > slowed
    outcomes = eventually(lambda: (d := decisions(agent, "calm"))[1:] and d)
    assert [d["outcome"] for d in outcomes] == ["done", "undone"]
    policy("calm-2", select={"label": "front"}, against=against, **times)
    agent.post(web, "start")
    eventually(lambda: owners(agent, noisy) == ["policy.calm-2"])
    agent.post(noisy, "update", {"cpu_weight": 50})
    assert owners(agent, noisy) == []
    assert held_weight(agent, noisy) > slowed
    eventually(lambda: decisions(agent, "calm-2")[-1]["outcome"] == "given up")
    assert owners(agent, noisy) == []


@pytest.mark.native
def test_a_dry_run_says_what_it_would_do(agent, container, policy):
    one = container(*BUSY, limits=SLOW, labels={"dry": "1"})
    kill = {"action": "kill", "after": "1s"}
    policy("dry", select={"label": "dry"}, grade=[WEIGHT, kill], **{"dry-run": True})
    eventually(lambda: {d["action"] for d in decisions(agent, "dry")} >= {"weight", "kill"})
    assert {d["outcome"] for d in decisions(agent, "dry")} == {"dry run"}
    assert agent.state(one)["status"] == "running"
    assert owners(agent, one) == []
    found = agent.client.request("GET", "/v1/policies/dry/test")
    (target,) = found["targets"]
    assert target["holds"] is True
    assert target["detectors"][0]["figure"] > 10
    assert [grade["action"] for grade in found["grades"]] == ["weight", "kill"]


@pytest.mark.native
def test_by_command_line(agent, container, tmp_path):
    one = container(*BUSY, limits=SLOW, labels={"cli": "1"}, name="busy-by-cli")
    file = tmp_path / "rules.toml"
    file.write_text(
        '[[ruleset]]\nname = "by-cli"\nselect = { label = "cli" }\nclear-for = "1s"\n'
        'when = { detector = "pressure-above", resource = "cpu", kind = "some", above = 10 }\n'
        '[[ruleset.grade]]\naction = "weight"\ncpu = 7\n'
    )

    def cli(*args, code=0):
        done = agent.cli("policy", *args)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    try:
        assert cli("add", str(file)) == "by-cli\n"
        assert "policy by-cli exists already" in cli("add", str(file), code=1)
        eventually(lambda: owners(agent, one) == ["policy.by-cli"])
        listed = cli("ls")
        assert re.search(r"by-cli +1 +1 +weight +at work", listed), listed
        (shown,) = json.loads(cli("inspect", "by-cli"))
        assert shown["holds"][0]["target"] == "container busy-by-cli"
        assert shown["ruleset"]["select"] == {"label": "cli"}
        told = cli("test", "by-cli")
        assert "container busy-by-cli: the condition holds" in told
        assert "grade 1, at once: weight cpu=7" in told
        assert re.search(r"by-cli: weight busy-by-cli: done: ", cli("log", "--policy", "by-cli"))
        assert cli("add", "--replace", "--dry-run", str(file)) == "by-cli\n"
        assert owners(agent, one) == []
        assert "dry run" in cli("ls")
    finally:
        cli("rm", "by-cli")
    assert "does not exist" in cli("rm", "by-cli", code=1)


@pytest.mark.native
def test_mistakes(agent):
    for body in ({"ruleset": [{"name": "a"}]}, {"ruleset": []}, {"rules": []}, {"ruleset": [3]}):
        with pytest.raises(InvalidInputError):
            agent.client.request("POST", "/v1/policies", body)
    for path in ("/v1/policies/none", "/v1/policies/none/test", "/v1/decisions?container=none"):
        with pytest.raises(NotFoundError):
            agent.client.request("GET", path)
    with pytest.raises(InvalidInputError):
        agent.client.request("GET", "/v1/decisions?after=ImEi")
    assert agent.client.request("GET", "/v1/policies") == []


@pytest.mark.native
def test_whenever_the_agent_is_killed_nothing_is_left_without_an_owner(own_agent):
    """Amid weights, caps and freezes, boosts and budgets that come and go."""
    agent, random_ = own_agent, random.Random(5)  # noqa: S311
    agent.launch(*BUSY, limits=SLOW, labels={"front": "1"})
    wishes = {"boost": "cpus=0.5,for=1s", "budget": "cpu=0.3s/2s:throttle=0.02"}
    victims = [agent.launch(*BUSY, limits=SLOW, labels={"batch": "1"}, **wishes) for _ in range(2)]
    before = {one: held_weight(agent, one) for one in victims}
    grades = [
        *(WEIGHT, {"action": "cpuset", "leave": 1}),
        *({"action": "cpu-cap", "cpus": 0.05}, {"action": "freeze", "for": "1s"}),
    ]
    table = {
        "name": "crash",
        "select": {"label": "front"},
        "when": WAITS,
        "against": {"label": "batch", "most": "memory"},
        "grade": grades,
        "cool-down": 0,
    }
    agent.client.request("POST", "/v1/policies", {"ruleset": [table]})
    for _ in range(KILLS):
        eventually(lambda: agent.client.request("GET", "/v1/decisions?policy=crash&limit=1"))
        time.sleep(random_.uniform(0, 1.5))
        agent.post(victims[0], "restart?timeout_s=0")
        time.sleep(random_.uniform(0, 1))
        agent.kill9()
        agent.start()
        for one in victims:  # eventually: it goes on acting meanwhile
            eventually(lambda one=one: is_answered_for(agent, one))
    agent.client.request("DELETE", "/v1/policies/crash")
    for one in victims:
        agent.post(one, "update", {"budget": "off"})
        eventually(lambda one=one: agent.state(one)["status"] == "running")
        eventually(lambda one=one: owners(agent, one) == [])
        assert held_weight(agent, one) == before[one]
        assert agent.detail(one)["limits_held"]["cpu_quota_us"] == 10_000
    with pytest.raises(NotFoundError):
        agent.client.request("DELETE", "/v1/policies/crash")


def test_a_ruleset_can_be_tested_as_soon_as_it_is_there(agent, policy):
    container = agent.launch("sleep", "1000", labels={"calm": "1"})
    policy("soon", select={"label": "calm"})
    found = agent.client.request("GET", "/v1/policies/soon/test")
    (target,) = found["targets"]
    assert target["target"] == f"container {agent.detail(container)['name']}"
    assert target["holds"] is False
    agent.remove(container)


def test_what_may_do_harm_is_undone_by_a_condition_of_its_own(agent, policy):
    container = agent.launch(*BUSY, limits=SLOW, labels={"pinned": "1"})
    before = agent.detail(container)["limits_held"]["cpuset_cpus"]
    unless = {**WAITS, "for": "4s"}
    keep = {"action": "cpuset", "keep": "50%", "unless": unless}
    policy("place", select={"label": "pinned"}, grade=[keep])
    eventually(lambda: [d["outcome"] for d in decisions(agent, "place")] == ["done", "undone"])
    done, undone = decisions(agent, "place")
    last = os.cpu_count() - 1
    assert re.search(rf": cpuset_cpus=(\d+-)?{last}$", done["reason"])
    assert undone["reason"].startswith("its own condition is against it: container ")
    assert owners(agent, container) == []
    every = {before, f"0-{last}"}  # cgroup v2 does not take an empty list again
    assert agent.detail(container)["limits_held"]["cpuset_cpus"] in every
    time.sleep(4)
    assert len(decisions(agent, "place")) == 2
    told = agent.cli("policy", "test", "place").stdout
    assert "cpuset keep=50%, by a condition of its own\n" in told
    agent.remove(container)


@pytest.mark.native
def test_files_of_the_settings_are_at_work_and_stay(data_root, alpine_docker_archive):
    with Agent(data_root, "--policies", str(SHIPPED)) as agent:
        found = {p["name"]: p for p in agent.client.request("GET", "/v1/policies")}
        assert {"oomd-swap", "systemd-oomd-pressure", "protect-cpu"} <= found.keys()
        assert found["protect-cpu"]["origin"] == str(SHIPPED / "protect.toml")
        with pytest.raises(ConflictError, match="remove it there"):
            agent.client.request("DELETE", "/v1/policies/protect-cpu")
        watched = eventually(
            lambda: agent.client.request("GET", "/v1/policies/systemd-oomd-pressure")["watched"]
        )
        assert watched == 1, "the group above all containers"
