"""Supervisor or keeper are killed: nobody who is connected to a container notices."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.world.agent import KEPT_MOST, SLOWNESS, alive, eventually
from tests.world.screen import PROMPT, Screen

pytestmark = pytest.mark.system
native = pytest.mark.native

IN_GUEST = SLOWNESS > 1
MANY = 3 if IN_GUEST else 10
KILLS = int(os.environ.get("CGAGENT_TEST_KILLS", "2" if IN_GUEST else "8"))
LINES = 300 if IN_GUEST else 20_000
SPEAKING = "i=0; trap 'exit 7' TERM; while :; do i=$((i+1)); echo line $i; {pause}; done"
COUNTED = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; done; exit 9"


def lines(number):
    return "".join(f"line {n}\n" for n in range(1, number + 1))


def speaking(pause):
    return "sh", "-c", SPEAKING.format(pause=pause)


def descriptors(agent):
    """How many supervisor and keeper have."""
    return [len(os.listdir(f"/proc/{p}/fd")) for p in (agent.supervisor_pid, agent.keeper_pid)]


def descriptors_at_rest(agent):
    """None while a zygote of the pool is being made: its cgroup is there before it."""
    before = descriptors(agent)
    time.sleep(0.2 * SLOWNESS)
    return before if descriptors(agent) == before else None


def no_more_than(before, now):
    """Fewer, if what a dead one had begun was still being ended when they were counted."""
    return all(mine <= then for mine, then in zip(now, before, strict=True))


def all_is_ready(agent):
    """What is kept for two kinds of containers, and nothing else; whoever its parent is by now."""
    return len(agent.cgroups()) == KEPT_MOST and agent.cgroups_settled()


@pytest.fixture
def slow_lines():
    return speaking(f"[ $((i%50)) = 0 ] && sleep {0.01 * SLOWNESS}")


@pytest.mark.native
def test_nobody_notices_kills_at_random_instants(own_agent, slow_lines, tmp_path, request):
    agent = own_agent
    logging = [agent.launch(*slow_lines) for _ in range(MANY)]
    host = agent.launch("sleep", "1000")
    commands = {
        "run": ("run", "alpine", "sh", "-c", COUNTED),
        "exec": ("exec", host, "sh", "-c", COUNTED),
        "fed": ("run", "-i", "alpine", "sh", "-c", "wc -l; exit 9"),
    }
    (tmp_path / "in").write_text(lines(50 * LINES))
    running = []
    for name, command in commands.items():
        with (tmp_path / "in").open() as fed, (tmp_path / name).open("w") as out:
            started = subprocess.Popen(agent.cli_command(*command), stdin=fed, stdout=out)
            running.append(started)
            request.addfinalizer(started.kill)
    both = (agent.kill9_supervisor, agent.kill9_keeper)
    kills = [*random.choices(both, k=KILLS - 1), agent.kill9_keeper]  # noqa: S311 - no secret
    with Screen(agent.cli_command("exec", "-it", host, "sh")) as screen:
        screen.expect(PROMPT)
        for number, kill in enumerate(kills):
            time.sleep(random.random() * 0.3 * SLOWNESS)  # noqa: S311 - no secret
            kill()
            screen.type(f"echo $(({number} + 1000))\n")
            screen.expect(rf"{number + 1000}\r\n")
        screen.type("exit 5\n")
        assert screen.wait() == 5
    for process in running:
        assert process.wait(120 * SLOWNESS) == 9
    assert (tmp_path / "run").read_text() == lines(LINES)
    assert (tmp_path / "exec").read_text() == lines(LINES)
    assert (tmp_path / "fed").read_text() == f"{50 * LINES}\n"
    for one in logging:
        agent.post(one, "kill?signal=TERM")
        assert agent.wait(one) == 7
        text = agent.log_text(one)
        assert text == lines(text.count("\n"))
    agent.remove_all()
    agent.kill9_supervisor()
    eventually(agent.cgroups_settled)


@pytest.mark.native
def test_ends_while_nobody_looks_are_told_right(own_agent):
    agent = own_agent
    limits = {"memory_max_bytes": 32 << 20, "memory_swap_max_bytes": 0}
    ending = agent.launch("sh", "-c", "sleep 1; echo last; exit 42")
    killed = agent.launch("sleep", "1000")
    hungry = agent.launch("sh", "-c", "sleep 1; tail /dev/zero", limits=limits)
    pids = [agent.state(one)["pid"] for one in (ending, killed, hungry)]
    supervisor = agent.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(pids[1], signal.SIGKILL)
    eventually(lambda: not any(map(alive, pids)), "still running", timeout_s=20)
    os.kill(supervisor, signal.SIGKILL)
    assert agent.wait(ending) == 42
    assert agent.log_text(ending) == "last\n"
    assert agent.wait(killed) == 137
    assert not agent.state(killed)["oom_killed"]
    assert agent.wait(hungry) == 137
    assert agent.state(hungry)["oom_killed"]


@pytest.mark.native
def test_what_was_asked_of_a_dead_one_is_answered_by_the_next(own_agent):
    agent = own_agent
    missing, supervisor = agent.create("/missing"), agent.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    asked = [
        subprocess.Popen(
            agent.cli_command(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in (
            ("run", "alpine", "sh", "-c", "echo here; exit 3"),
            ("start", missing),
        )
    ]
    time.sleep(0.5 * SLOWNESS)
    os.kill(supervisor, signal.SIGKILL)
    answers = [process.communicate(timeout=60 * SLOWNESS) for process in asked]
    assert [process.returncode for process in asked] == [3, 1]
    assert answers[0][0] == "here\n"
    assert "/missing" in answers[1][1]
    assert agent.state(missing)["exit_code"] == 127


@pytest.mark.native
def test_nothing_is_left_of_those_who_died(own_agent):
    agent = own_agent
    agent.run("true")
    agent.remove(agent.launch("sleep", "1000"))
    eventually(lambda: all_is_ready(agent))
    agent.kill9_supervisor()
    before = eventually(lambda: all_is_ready(agent) and descriptors_at_rest(agent))
    for kill in (agent.kill9_supervisor, agent.kill9_keeper, agent.kill9_supervisor):
        one = agent.launch("sleep", "1000")
        kill()
        agent.exec(one, "true")
        agent.remove(one)
    eventually(lambda: all_is_ready(agent) and no_more_than(before, descriptors(agent)))
    children = Path(f"/proc/{agent.keeper_pid}/task/{agent.keeper_pid}/children")
    eventually(
        lambda: all(alive(int(pid)) for pid in children.read_text().split()), "a zombie is left"
    )


def runtime_that_waits(folder, command):
    """A runtime that notes the call of `command` and does it late."""
    program = folder / "crun"
    program.write_text(
        f'#!/bin/sh\ncase " $* " in *" {command} "*) touch {folder}/called; '
        f'sleep {0.3 * SLOWNESS};; esac\nexec {shutil.which("crun")} "$@"\n'
    )
    program.chmod(0o755)
    return str(program), folder / "called"


@contextlib.contextmanager
def starting(agent, container):
    with subprocess.Popen(agent.cli_command("start", container)) as process:
        try:
            yield process
        finally:
            process.kill()


@native
@pytest.mark.parametrize("first", ["supervisor", "keeper"])
def test_a_process_of_another_runtime_that_ends_while_nobody_looks(own_agent, tmp_path, first):
    """Who takes over hears of its end before it hears that it was made."""
    agent = own_agent
    runtime, called = runtime_that_waits(tmp_path, "create")
    script = "echo here; touch /seen/ended; exit 3"
    one = agent.create("sh", "-c", script, runtime=runtime, binds=[f"{tmp_path}:/seen"])
    with starting(agent, one) as start:
        eventually(called.exists, timeout_s=20)
        if first == "keeper":
            agent.kill9_keeper()
        supervisor = agent.supervisor_pid
        os.kill(supervisor, signal.SIGSTOP)
        eventually((tmp_path / "ended").exists, timeout_s=20)
        time.sleep(0.3 * SLOWNESS)  # the launcher ends
        os.kill(supervisor, signal.SIGKILL)
        assert start.wait(60 * SLOWNESS) == 0
    assert agent.wait(one) == 3
    assert agent.log_text(one) == "here\n"


@native
@pytest.mark.parametrize("options", [{"runtime": "crun"}, {"userns": "auto"}], ids=str)
def test_a_start_of_any_kind_goes_on(own_agent, options):
    for number in range(8):
        one = own_agent.create("sh", "-c", "echo here; exit 3", **options)
        with starting(own_agent, one) as start:
            time.sleep((0.1 + random.random() * 0.3) * SLOWNESS)  # noqa: S311 - no secret
            own_agent.kill9_keeper() if number % 4 == 3 else own_agent.kill9_supervisor()
            assert start.wait(60 * SLOWNESS) == 0
        assert own_agent.wait(one) == 3
        assert own_agent.log_text(one) == "here\n"


@native
@pytest.mark.parametrize("deaths", [["supervisor"], ["supervisor", "keeper"]], ids=str)
def test_what_a_probe_leaves_ends_with_it_whoever_reaps_it(own_agent, deaths):
    agent = own_agent
    once = "[ -e /once ] && exit 0; touch /once; sleep 700 & sleep 2; exit 0"
    check = {"test": ["CMD-SHELL", once], "interval_ns": 10**8}
    one = agent.launch("sleep", "1000", health=check)
    listed = f"/v1/containers/{one}/processes"
    eventually(lambda: len(agent.client.request("GET", listed)["pids"]) == 4)
    for victim in deaths:
        agent.kill9_supervisor() if victim == "supervisor" else agent.kill9_keeper()
    eventually(lambda: agent.state(one)["health"]["status"] == "healthy", timeout_s=20)
    eventually(lambda: len(agent.client.request("GET", listed)["pids"]) == 1)
