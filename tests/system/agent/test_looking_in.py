"""``top``, and ``--init``: who the first process of a container is."""

import pytest

from tests.world.agent import eventually

pytestmark = pytest.mark.system


def test_top_shows_the_processes_with_the_hosts_ids(agent, container):
    one = container("sh", "-c", "sleep 1000 & exec sleep 2000")
    detail = f"/v1/containers/{one}/processes"
    eventually(lambda: "sh" not in str(agent.client.request("GET", detail)["processes"]))
    done = agent.cli("top", one)
    title, *rows = [line.split(maxsplit=7) for line in done.stdout.splitlines()]
    assert title == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert {row[7] for row in rows} == {"sleep 1000", "sleep 2000"}
    assert str(agent.state(one)["pid"]) in {row[1] for row in rows}
    assert {row[0] for row in rows} == {"root"}
    short = agent.cli("top", one, "-o", "pid,comm").stdout.splitlines()
    assert short[0].split() == ["PID", "COMMAND"]
    assert len(short) == 3


def test_top_of_what_does_not_run_or_is_not_known(agent, container):
    one = container("sleep", "1000", start=False)
    assert "is not running" in agent.cli("top", one).stderr
    agent.post(one, "start")
    assert "ps column 'evil'" in agent.cli("top", one, "-o", "evil").stderr


@pytest.mark.native
def test_init_reaps_passes_signals_on_and_has_the_exit_code(agent, container):
    script = "(sleep 0.1 &) ; trap 'exit 9' TERM; while :; do sleep 0.1; done"
    one = container("sh", "-c", script, init=True)
    assert agent.exec(one, "cat", "/proc/1/comm").stdout == "docker-init\n"
    agent.exec(one, "sh", "-c", "(true &) & true")
    zombies = ["sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status; true"]
    eventually(lambda: agent.exec(one, *zombies).stdout == "")
    assert agent.exec(one, "touch", "/sbin/docker-init").exit_code != 0
    agent.post(one, "stop")
    assert agent.wait(one) == 9


@pytest.mark.native
def test_init_from_the_command_line(agent):
    done = agent.cli("run", "--rm", "--init", "alpine", "sh", "-c", "echo $$; exit 3")
    assert done.returncode == 3
    assert int(done.stdout) > 1
