"""Restart policies: who comes back, how often, and what ends it."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from cgagent.client.http import Client
from cgagent.errors import ConflictError, InvalidInputError
from tests.world.agent import SLOWNESS, Agent, alive, eventually

pytestmark = pytest.mark.system
native = pytest.mark.native

FOREVER = ("sleep", "1000")
ALWAYS = {"name": "always"}
UNLESS_STOPPED = {"name": "unless-stopped"}


def restarted(agent, container, count):
    return eventually(lambda: (d := agent.detail(container))["restart_count"] >= count and d)


def ended(agent, container):
    """What is shown of it once it is not started again."""
    return eventually(lambda: (d := agent.detail(container))["state"]["status"] == "exited" and d)


@native
def test_on_failure_tries_so_often_and_no_more(agent, container):
    one = container(
        "sh", "-c", "echo try; exit 3", restart={"name": "on-failure", "max_retries": 2}
    )
    assert agent.wait(one) == 3
    assert ended(agent, one)["restart_count"] == 2
    assert agent.log_text(one) == "try\n" * 3
    shown = agent.cli("inspect", "-f", "{{.RestartCount}} {{json .HostConfig.RestartPolicy}}", one)
    assert shown.stdout == '2 {"Name":"on-failure","MaximumRetryCount":2}\n'
    agent.post(one, "start")  # a user's start counts anew
    assert ended(agent, one)["restart_count"] == 2
    fine = container("true", restart={"name": "on-failure"})
    assert agent.wait(fine) == 0
    assert agent.detail(fine)["restart_count"] == 0


@native
@pytest.mark.parametrize("condition", ["not-running", "next-exit"])
def test_a_wait_ends_with_each_run(agent, container, condition):
    one = container("sh", "-c", "sleep 0.3; exit 7", restart=ALWAYS)
    path = f"wait?condition={condition}"
    assert agent.post(one, path) == {"exit_code": 7}
    assert agent.state(one)["status"] != "exited"
    eventually(lambda: agent.state(one)["status"] == "restarting")
    assert agent.post(one, path) == {"exit_code": 7}  # it counts as running meanwhile
    assert agent.detail(one)["restart_count"] >= 1


@native
def test_a_wait_for_the_removal_does_not_end_with_a_run(agent, container):
    one = container("sh", "-c", "exit 7", restart=ALWAYS)
    with closing(Client(str(agent.socket))) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            client.request, "POST", f"/v1/containers/{one}/wait?condition=removed"
        )
        restarted(agent, one, 2)
        assert not waiting.done()
        agent.remove(one)
        assert waiting.result(30 * SLOWNESS) == {"exit_code": 7}


@native
def test_one_that_waits_for_its_restart_is_shown_stopped_and_removed(agent, container):
    one = container("sh", "-c", "exit 7", name="waits", restart=ALWAYS)
    restarted(agent, one, 4)  # the delays have grown: there is time to look
    eventually(lambda: "Restarting (7)" in agent.cli("ps").stdout)
    eventually(lambda: agent.state(one)["status"] == "restarting")
    with pytest.raises(ConflictError, match="is not running"):
        agent.exec(one, "true")
    with pytest.raises(ConflictError, match="stop it first or remove it with --force"):
        agent.client.request("DELETE", f"/v1/containers/{one}")
    agent.post(one, "stop")
    detail = agent.detail(one)
    assert (detail["state"]["status"], detail["state"]["exit_code"]) == ("exited", 7)
    time.sleep(2 * detail["restart_count"] * 0.2)
    assert agent.detail(one) == detail
    agent.post(one, "start")
    restarted(agent, one, 3)
    agent.remove(one)
    assert one not in {c["id"] for c in agent.containers()}
    eventually(agent.cgroups_settled)


def test_a_user_ends_it_and_a_crash_does_not(agent, container):
    one = container(*FOREVER, restart=ALWAYS)
    os.kill(agent.state(one)["pid"], signal.SIGKILL)
    assert restarted(agent, one, 1)["restart_count"] == 1
    eventually(lambda: agent.state(one)["status"] == "running")
    agent.post(one, "kill")
    assert agent.wait(one) == 137
    assert agent.state(one)["status"] == "exited"
    agent.post(one, "start")
    hup = container("sh", "-c", "trap 'exit 4' HUP; echo up; while :; do sleep 0.1; done")
    agent.post(hup, "update", {"restart": ALWAYS})
    eventually(lambda: "up" in agent.log_text(hup))
    agent.post(hup, "kill?signal=HUP")  # no way to stop it, to docker
    restarted(agent, hup, 1)
    agent.cli("update", "--restart", "no", hup)
    agent.post(hup, "stop?timeout_s=0")
    assert agent.detail(hup)["config"]["restart"] == {"name": "no", "max_retries": 0}


@native
def test_the_policy_can_be_changed_while_a_restart_is_due(agent, container):
    one = container("false", restart=ALWAYS)
    restarted(agent, one, 4)
    agent.post(one, "update", {"restart": {"name": "no"}})
    assert agent.wait(one) == 1
    assert agent.state(one)["status"] == "exited"


@native
def test_what_cannot_be_is_refused(agent, nothing_made):
    done = agent.cli("run", "--rm", "--restart", "always", "alpine", "true")
    assert "cannot specify both --restart and --rm" in done.stderr
    done = agent.cli("run", "--restart", "on-failure:x", "alpine", "true")
    assert "must be an integer" in done.stderr
    with pytest.raises(InvalidInputError, match="'sometimes' is not known"):
        agent.create("true", restart={"name": "sometimes"})


@native
def test_a_command_that_cannot_start_again_is_tried_again(agent, container):
    """What it was started with is gone: each attempt fails, and counts."""
    script = "cp /bin/busybox /tmp/b; echo up; sleep 0.2; rm /bin/sh; exit 1"
    one = container("/bin/sh", "-c", script, restart={"name": "on-failure", "max_retries": 2})
    detail = ended(agent, one)
    assert (detail["restart_count"], detail["state"]["exit_code"]) == (2, 127)
    assert "no such file" in detail["state"]["error"]


@native
def test_a_killed_agent_starts_what_is_due_when_it_is_back(own_agent):
    agent = own_agent
    waits = agent.launch("false", restart=ALWAYS)
    runs = agent.launch(*FOREVER, restart=UNLESS_STOPPED)
    ends = agent.launch("sh", "-c", "sleep 0.5; exit 1", restart={"name": "on-failure"})
    stopped = agent.launch(*FOREVER, restart=UNLESS_STOPPED)
    stopped_always = agent.launch(*FOREVER, restart=ALWAYS)
    for one in (stopped, stopped_always):
        agent.post(one, "kill")
        agent.wait(one)
    count = restarted(agent, waits, 3)["restart_count"]
    pid = agent.state(runs)["pid"]
    agent.kill9()
    time.sleep(1 * SLOWNESS)  # `ends` ends while nobody is there
    agent.start()
    assert restarted(agent, waits, count + 1)
    assert restarted(agent, ends, 1)
    assert agent.state(runs)["pid"] == pid
    eventually(lambda: agent.state(stopped_always)["status"] == "running")
    assert agent.state(stopped)["status"] == "exited"


@native
def test_killed_amid_restarts_no_container_runs_twice_or_is_lost(own_agent):
    agent = own_agent
    flapping = [agent.launch("sleep", "0.05", restart=ALWAYS) for _ in range(3)]
    for delay in (0.05, 0.15, 0.3):
        time.sleep(delay * SLOWNESS)
        agent.kill9()
        agent.start()
        counts = {one: agent.detail(one)["restart_count"] for one in flapping}
        for one in flapping:
            restarted(agent, one, counts[one] + 1)
        eventually(lambda: len(agent.cgroups()) <= len(flapping) + 2)
    for one in flapping:
        agent.post(one, "stop?timeout_s=0")
    eventually(lambda: all(agent.state(c)["status"] == "exited" for c in flapping))


@native
def test_after_a_reboot_those_with_a_policy_run_again(data_root, alpine_docker_archive):
    """A reboot takes agent, supervisor and containers away at once; the disk stays."""
    with Agent(data_root) as agent:
        agent.load(alpine_docker_archive)
        kept = agent.launch(*FOREVER, restart=UNLESS_STOPPED)
        plain = agent.launch(*FOREVER)
        pids = [agent.state(c)["pid"] for c in (kept, plain)]
        supervisor = agent.supervisor_pid
        agent.kill9()
        os.kill(supervisor, signal.SIGKILL)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(map(alive, (*pids, supervisor))))
        agent.start()
        eventually(lambda: agent.state(kept)["status"] == "running")
        assert agent.state(plain)["exit_code"] == 137
        assert agent.exec(kept, "echo", "here").stdout == "here\n"


@native
def test_limits_and_policy_are_updated_together_or_not_at_all(agent, container):
    one = container("sleep", "1000")
    agent.post(one, "update", {"pids_max": 77, "restart": {"name": "always"}})
    detail = agent.detail(one)
    assert detail["limits"]["pids_max"] == 77
    assert detail["config"]["restart"]["name"] == "always"
    jobs = agent.client.request("GET", "/v1/jobs")
    updates = [j for j in jobs if (j["name"], j["arguments"].get("container")) == ("update", one)]
    assert len(updates) == 1
    refused = {"cpuset_cpus": "4000", "restart": {"name": "no"}}
    with pytest.raises(InvalidInputError, match="cpuset"):
        agent.post(one, "update", refused)
    detail = agent.detail(one)
    assert detail["config"]["restart"]["name"] == "always"
    assert detail["limits"].get("cpuset_cpus") is None
