"""What happened: replayed, filtered, followed, and kept over the agent's death."""

from __future__ import annotations

import json
import re
import select
import subprocess
import time

import pytest

from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def actions(text):
    return [json.loads(line)["Action"] for line in text.splitlines()]


def test_a_life_in_dockers_words(agent, container):
    begin = f"{time.time():.6f}"
    one = container("sh", "-c", "exit 3", name="lived", labels={"tier": "web"})
    agent.wait(one)
    until = ("--until", f"{time.time():.6f}")
    shown = agent.cli("events", "--since", begin, *until, "-f", "container=lived").stdout
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)"
    created, _, died = shown.splitlines()
    about = r"image=alpine, name=lived, tier=web"
    assert re.fullmatch(rf"{when} container create {one} \({about}\)", created)
    assert re.fullmatch(rf"{when} container die {one} \(exitCode=3, {about}\)", died)
    asked = ("events", "--since", begin, *until, "-f", "label=tier=web", "-f", "event=die")
    (found,) = map(json.loads, agent.cli(*asked, "--format", "json").stdout.splitlines())
    assert (
        found.items()
        >= {
            "status": "die",
            "id": one,
            "from": "alpine",
            "Type": "container",
            "Action": "die",
            "scope": "local",
        }.items()
    )
    assert found["Actor"]["ID"] == one
    assert found["Actor"]["Attributes"]["exitCode"] == "3"
    assert found["timeNano"] // 10**9 == found["time"]
    text = agent.cli(*asked, "--format", "{{.Action}} {{.Actor.Attributes.name}}").stdout
    assert text == "die lived\n"
    assert "is not NAME=VALUE" in agent.cli("events", "-f", "colour=red").stderr


def test_following_begins_now_and_ends_when_it_is_told_to(agent, container):
    agent.wait(container("true"))
    until = f"{time.time() + 6 * SLOWNESS:.3f}"
    command = agent.cli_command("events", "--until", until, "--format", "json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while not select.select([process.stdout], [], [], 0.1)[0]:  # until it follows
            agent.client.request("POST", "/v1/volumes", {"name": "shown"})
            agent.client.request("DELETE", "/v1/volumes/shown")
        one = container("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
        agent.post(one, "restart?timeout_s=0")
        output, _ = process.communicate(timeout=60 * SLOWNESS)
    told = [e for e in map(json.loads, output.splitlines()) if e["Type"] == "container"]
    assert {e["id"] for e in told} == {one}
    assert process.returncode == 0
    actions = [e["Action"] for e in told]
    assert actions[:3] == ["create", "start", "kill"]  # SIGTERM, and SIGKILL if it was slow
    assert [a for a in actions if a != "kill"] == [
        *("create", "start", "die", "stop", "start", "restart"),
    ]


def test_a_command_in_a_container_is_told(agent, running):
    begin = f"{time.time():.9f}"
    agent.exec(running, "sh", "-c", "exit 3")
    agent.cli("stop", "-s", "KILL", "-t", "-1", running)
    format_ = "{{.Action}} {{json .Actor.Attributes}}"
    flags = ("--no-follow", "--since", begin, "-f", f"container={running}", "--format", format_)
    text = agent.cli("events", *flags).stdout
    told = [line.split(" {") for line in text.splitlines()]
    assert [action for action, _ in told] == [
        *("exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"),
        *("kill", "die", "stop"),
    ]
    about = [json.loads("{" + attributes) for _, attributes in told]
    assert len({a["execID"] for a in about[:3]}) == 1
    assert (about[2]["exitCode"], about[3]["signal"]) == ("3", "9")


def test_a_killed_agent_still_tells_them(own_agent):
    agent = own_agent
    one = agent.launch("sh", "-c", "sleep 0.5; exit 4")
    agent.kill9()
    time.sleep(1 * SLOWNESS)
    agent.start()
    text = eventually(
        lambda: (
            (t := agent.cli("events", "--no-follow", "-f", f"container={one[:12]}").stdout)
            and "die" in t
            and t
        )
    )
    assert [line.split()[2] for line in text.splitlines()] == ["create", "start", "die"]
    assert "exitCode=4" in text
