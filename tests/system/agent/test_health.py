"""Health checks: what they find, and that a probe leaves nothing behind."""

from __future__ import annotations

import json
import os
import tarfile
import time

import pytest

from cgagent.errors import InvalidInputError
from tests.world.agent import SLOWNESS, alive, eventually

pytestmark = pytest.mark.system
native = pytest.mark.native

FOREVER = ("sleep", "1000")
MS = 10**6


def every(ms, command, **values):
    return {"test": ["CMD-SHELL", command], "interval_ns": ms * MS, **values}


def health(agent, container):
    return agent.state(container)["health"]


def becomes(agent, container, status):
    return eventually(lambda: (h := health(agent, container))["status"] == status and h)


def processes(agent, container):
    return agent.client.request("GET", f"/v1/containers/{container}/processes")["pids"]


@native
def test_a_container_becomes_healthy_unhealthy_and_healthy_again(agent, container):
    one = container(
        *FOREVER,
        name="checked",
        health=every(
            200,
            "echo looked; test -e /tmp/fine",
            retries=2,
            start_period_ns=10**13,
            start_interval_ns=200 * MS,
        ),
        labels={"tier": "web"},
    )
    assert health(agent, one)["status"] == "starting"
    assert "(health: starting)" in agent.cli("ps").stdout
    agent.exec(one, "touch", "/tmp/fine")
    found = becomes(agent, one, "healthy")
    assert (found["log"][-1]["exit_code"], found["log"][-1]["output"]) == (0, "looked\n")
    assert "(healthy)" in agent.cli("ps").stdout
    agent.exec(one, "rm", "/tmp/fine")
    assert becomes(agent, one, "unhealthy")["failing_streak"] >= 2
    agent.exec(one, "touch", "/tmp/fine")
    assert becomes(agent, one, "healthy")["failing_streak"] == 0
    told = [
        e["action"]
        for e in agent.client.lines("GET", "/v1/events")
        if e["id"] == one and e["action"].startswith("health")
    ]
    states = ("healthy", "unhealthy", "healthy")
    assert told == [f"health_status: {s}" for s in states]
    shown = json.loads(agent.cli("inspect", "-f", "{{json .State.Health}}", one).stdout)
    assert shown["Status"] == "healthy"
    assert 2 <= len(shown["Log"]) <= 5
    agent.post(one, "kill")
    agent.wait(one)
    assert health(agent, one)["status"] == "unhealthy"


@pytest.mark.native
def test_a_probe_that_takes_too_long_is_killed_with_all_it_started(agent, container):
    begun, limit_s = "echo begun; sleep 500 & sleep 600", 1.0 * SLOWNESS
    check = every(1000, begun, timeout_ns=int(limit_s * 1e9), retries=1)
    one = container(*FOREVER, health=check)
    found = becomes(agent, one, "unhealthy")
    assert found["log"][-1]["exit_code"] == -1
    assert found["log"][-1]["output"] == f"Health check exceeded timeout ({limit_s:g}s): begun\n"
    eventually(lambda: len(processes(agent, one)) == 1)


@native
def test_what_a_probe_leaves_running_ends_with_it(agent, container):
    one = container(*FOREVER, health=every(100, "sleep 700 & exit 0"))
    becomes(agent, one, "healthy")
    for _ in range(15):  # long enough for the sampler to have opened its files, too
        time.sleep(0.1 * SLOWNESS)
        assert len(processes(agent, one)) <= 3
    descriptors = f"/proc/{agent.pid}/fd"
    before = len(os.listdir(descriptors))
    seen = health(agent, one)["log"][-1]["ended_ns"]
    eventually(lambda: health(agent, one)["log"][0]["started_ns"] > seen)  # five more
    assert len(os.listdir(descriptors)) <= before + 2


@native
def test_output_is_kept_up_to_4096_bytes(agent, container):
    one = container(*FOREVER, health=every(100, "yes | head -c 100000"))
    output = becomes(agent, one, "healthy")["log"][-1]["output"]
    assert output == "y\n" * 2048 + "..."


@native
def test_a_command_that_is_not_there_counts_as_a_failure(agent, container):
    one = container(
        *FOREVER, health={"test": ["CMD", "nothing-there"], "interval_ns": 100 * MS, "retries": 1}
    )
    found = becomes(agent, one, "unhealthy")
    assert "not found in $PATH" in found["log"][-1]["output"]


@native
def test_the_start_period_has_a_rhythm_of_its_own(agent, container):
    one = container(
        *("sh", "-c", "sleep 0.6; touch /tmp/fine; sleep 1000"),
        health=every(
            100_000,
            "test -e /tmp/fine",
            start_period_ns=60_000 * MS,
            start_interval_ns=100 * MS,
            retries=1,
        ),
    )
    found = becomes(agent, one, "healthy")
    assert 1 in [r["exit_code"] for r in found["log"]]


def test_a_frozen_container_is_left_alone(agent, container):
    check = every(100, "true", timeout_ns=int(200 * MS * SLOWNESS), retries=1)
    one = container(*FOREVER, health=check)
    becomes(agent, one, "healthy")
    agent.post(one, "freeze")
    time.sleep(0.5 * SLOWNESS)
    before = health(agent, one)
    time.sleep(0.5 * SLOWNESS)
    assert health(agent, one) == before
    agent.post(one, "thaw")
    last = before["log"][-1]["ended_ns"]
    eventually(lambda: health(agent, one)["log"][-1]["started_ns"] > last)


def with_config(archive, folder, **changes):
    """The archive of an image, as its author had said more of how to run it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder)  # noqa: S202 - made by us; Python 3.11.2 knows no filter
    manifest = json.loads((folder / "manifest.json").read_text())
    config = json.loads((folder / manifest[0]["Config"]).read_text())
    config["config"].update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    manifest[0].update(Config="config.json", RepoTags=["checked:latest"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    changed = folder.with_suffix(".tar")
    with tarfile.open(changed, "w") as tar:
        tar.add(folder, ".")
    return changed


@native
def test_an_image_brings_its_check_and_its_stop_signal(
    agent, container, busybox_docker_archive, tmp_path
):
    check = {"Test": ["CMD", "true"], "Interval": 100 * MS, "Retries": 2}
    folder = tmp_path / "image"
    folder.mkdir()
    changed = with_config(
        busybox_docker_archive, folder, Healthcheck=check, StopSignal="SIGRTMIN+3"
    )
    agent.load(changed)
    script = "trap 'exit 9' 37; while :; do sleep 0.1; done"
    one = container("sh", "-c", script, image="checked")
    becomes(agent, one, "healthy")
    without = container(*FOREVER, image="checked", health={"test": ["NONE"]})
    assert health(agent, without) is None
    agent.post(one, "stop")
    assert agent.state(one)["exit_code"] == 9
    for used in (one, without):
        agent.remove(used)
    agent.client.request("DELETE", "/v1/images/checked:latest")


@native
def test_flags_and_their_conflicts(agent, nothing_made):
    done = agent.cli(
        *("create", "--health-cmd", "probe", "--health-interval", "1m30s", "--health-retries", "5"),
        *("--health-timeout", "500ms", "--health-start-period", "10s", "alpine", "true"),
    )
    one = done.stdout.strip()
    shown = agent.cli("inspect", "-f", "{{json .Config.Healthcheck}}", one).stdout
    agent.remove(one)
    assert json.loads(shown) == {
        "Test": ["CMD-SHELL", "probe"],
        "Interval": 90 * 10**9,
        "Timeout": 500 * MS,
        "StartPeriod": 10 * 10**9,
        "StartInterval": 5 * 10**9,
        "Retries": 5,
    }
    both = agent.cli("create", "--no-healthcheck", "--health-cmd", "x", "alpine", "true")
    assert "--no-healthcheck conflicts with --health-* options" in both.stderr
    with pytest.raises(InvalidInputError, match="less than 1 ms"):
        agent.create("true", health=every(0, "true"))


@native
def test_checks_survive_a_killed_agent_and_a_probe_does_not(own_agent):
    agent = own_agent
    quick = agent.launch(*FOREVER, health=every(100, "true"))
    hangs = agent.launch(*FOREVER, health=every(100, "sleep 800", timeout_ns=10**12))
    becomes(agent, quick, "healthy")
    probe = eventually(
        lambda: [p for p in processes(agent, hangs) if not is_first(agent, hangs, p)]
    )
    before = health(agent, quick)
    agent.kill9()
    eventually(lambda: not any(map(alive, probe)), "the probe outlived its agent")
    agent.start()
    assert health(agent, quick)["status"] == "healthy"
    last = before["log"][-1]["ended_ns"]
    eventually(lambda: health(agent, quick)["log"][0]["started_ns"] > last)
    agent.post(hangs, "kill")
    assert agent.wait(hangs) == 137


def is_first(agent, container, pid):
    return pid == agent.state(container)["pid"]
