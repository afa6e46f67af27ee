"""The agent may be killed at any time: containers go on, and nothing of them is lost."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest

from tests.world.agent import SLOWNESS, alive, eventually

pytestmark = pytest.mark.system

MIB = 1 << 20
MANY = 5 if SLOWNESS > 1 else 20
COUNTING = f"i=0; while :; do i=$((i+1)); echo $i; sleep {0.02 * SLOWNESS}; done"


def log_lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line)["log"] for line in f if line.endswith("\n")]


def kept_limits(agent, container):
    """What the database has, while no agent runs."""
    with sqlite3.connect(f"file:{agent.data_root}/cgagent.db?mode=ro", uri=True) as database:
        (document,) = database.execute(
            "SELECT document FROM containers WHERE id = ?", (container,)
        ).fetchone()
    return json.loads(document)["limits"]


@pytest.mark.native
def test_containers_go_on_and_no_line_is_lost(own_agent):
    agent = own_agent
    counting = [agent.launch("sh", "-c", COUNTING) for _ in range(MANY)]
    ending = agent.launch("sh", "-c", "sleep 1; echo last; exit 42")
    removed = agent.launch("sh", "-c", "sleep 1", auto_remove=True)
    before = {one: agent.detail(one) for one in counting}
    supervisor = agent.supervisor_pid

    agent.kill9()
    written = {one: len(log_lines(before[one]["log_path"])) for one in counting}
    time.sleep(1.5 * SLOWNESS)  # away long enough for two to end
    for one in counting:
        assert alive(before[one]["state"]["pid"])
        assert len(log_lines(before[one]["log_path"])) > written[one]
    agent.start()

    assert agent.supervisor_pid == supervisor
    present = {c["id"]: c["state"] for c in agent.containers()}
    assert set(present) == {*counting, ending}
    assert present[ending]["status"] == "exited"
    assert present[ending]["exit_code"] == 42
    assert agent.log_text(ending) == "last\n"
    assert not (agent.data_root / "containers" / removed).exists()
    for one in counting:
        assert present[one] == before[one]["state"]
    for one in counting:
        agent.post(one, "kill")
        assert agent.wait(one) == 137
        numbers = [int(line) for line in log_lines(before[one]["log_path"])]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > written[one]


@pytest.mark.native
def test_limits_freezing_and_exec_work_after_it(own_agent):
    agent = own_agent
    one = agent.launch("sleep", "1000", limits={"pids_max": 50})
    agent.post(one, "freeze")
    agent.kill9()
    agent.start()
    assert agent.state(one)["status"] == "frozen"
    agent.post(one, "thaw")
    assert agent.exec(one, "echo", "here").stdout == "here\n"
    agent.post(one, "update", {"pids_max": 60})
    assert agent.cgroup_file(one, "pids", v1="pids.max", v2="pids.max").read_text() == "60\n"


@pytest.mark.native
def test_a_foreground_run_does_not_notice(own_agent):
    agent = own_agent
    script = "echo before; sleep 2; echo after; exit 11"
    with subprocess.Popen(
        agent.cli_command("run", "alpine", "sh", "-c", script), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "before\n"
        agent.kill9()
        output, _ = process.communicate(timeout=30 * SLOWNESS)
        assert output == "after\n"
        assert process.returncode == 11
    agent.start()
    (one,) = agent.containers()
    assert one["state"]["exit_code"] == 11


def test_an_oom_kill_while_the_agent_is_away_is_told_afterwards(own_agent):
    agent = own_agent
    limits = {"memory_max_bytes": 32 << 20, "memory_swap_max_bytes": 0}
    one = agent.launch("sh", "-c", "sleep 1; tail /dev/zero", limits=limits)
    pid = agent.state(one)["pid"]
    agent.kill9()
    eventually(lambda: not alive(pid), "still running", timeout_s=20)
    agent.start()
    state = agent.state(one)
    assert (state["exit_code"], state["oom_killed"]) == (137, True)


@pytest.mark.native
def test_an_oom_kill_inside_while_the_agent_is_away_is_told_once(own_agent):
    agent = own_agent
    limits = {"memory_max_bytes": 32 << 20, "memory_swap_max_bytes": 0}
    script = "sleep 1; sh -c 'tail /dev/zero'; echo done; sleep 1000"
    one = agent.launch("sh", "-c", script, limits=limits)
    kills = agent.cgroup_file(one, "memory", v1="memory.oom_control", v2="memory.events")
    agent.kill9()
    eventually(lambda: "oom_kill 1" in kills.read_text().split("\n"), timeout_s=20)
    for _ in range(2):
        agent.start()
        state = agent.state(one)
        assert (state["status"], state["oom_killed"]) == ("running", False)
        assert state["oom"]["victims"] == 1
        told = [e for e in agent.client.lines("GET", "/v1/events") if e["action"] == "oom"]
        assert [e["id"] for e in told] == [one]
        agent.kill9()
    agent.start()


@pytest.mark.native
def test_a_terminated_agent_leaves_containers_running(own_agent):
    agent = own_agent
    one = agent.launch("sh", "-c", COUNTING)
    state = agent.state(one)
    assert agent.stop() == 0
    assert not agent.socket.exists()
    assert alive(state["pid"])
    agent.start()
    assert agent.state(one) == state


@pytest.mark.native
def test_the_supervisor_ends_with_the_last_container_when_no_agent_is_there(own_agent):
    agent = own_agent
    one = agent.launch("sh", "-c", "sleep 1; exit 3")
    supervisor = agent.supervisor_pid
    assert os.path.exists(f"/proc/{supervisor}")
    agent.kill9()
    eventually(lambda: not os.path.exists(f"/proc/{supervisor}"), timeout_s=20)
    agent.start()
    assert agent.state(one)["exit_code"] == 3
    assert agent.supervisor_pid != supervisor


@pytest.mark.native
def test_an_idle_supervisor_ends_with_the_agent(own_agent):
    agent = own_agent
    supervisor = agent.supervisor_pid
    agent.kill9()
    eventually(lambda: not os.path.exists(f"/proc/{supervisor}"))


@pytest.mark.native
def test_supervisor_and_keeper_killed_at_once_take_containers_along_and_new_ones_serve(own_agent):
    agent = own_agent
    one = agent.launch("sleep", "1000")
    pid, supervisor = agent.state(one)["pid"], agent.supervisor_pid
    agent.kill9_both()
    state = eventually(lambda: (s := agent.state(one))["status"] == "exited" and s)
    assert state["exit_code"] == 137
    assert "supervisor" in state["error"]
    eventually(lambda: not alive(pid))
    assert agent.run("echo", "again").stdout == "again\n"
    assert agent.supervisor_pid != supervisor


@pytest.mark.native
def test_killed_in_the_middle_of_starts_it_cleans_up(own_agent):
    """Whatever state a start was in: afterwards a container is whole or not there."""
    agent = own_agent
    for delay in (0.0, 0.02, 0.05):
        starting = [
            subprocess.Popen(
                agent.cli_command("run", "-d", "alpine", "sleep", "1000"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(3)
        ]
        time.sleep((0.15 + delay) * SLOWNESS)
        agent.kill9()
        for process in starting:
            process.wait(30 * SLOWNESS)
        agent.start()
        present = agent.containers()
        containers = agent.data_root / "containers"
        folders = set(os.listdir(containers)) if containers.exists() else set()
        assert folders == {c["id"] for c in present}
        for one in present:
            status = one["state"]["status"]
            assert status in {"created", "running"}
            assert alive(one["state"]["pid"]) if status == "running" else True
        running = {c["id"] for c in present if c["state"]["status"] == "running"}
        # groups of containers that run, and the few kept ready for the next
        assert running <= agent.cgroups()
        eventually(lambda seen=running: len(agent.cgroups() - seen) <= 2)
        agent.remove_all()


@pytest.mark.native
def test_killed_in_the_middle_of_an_update_all_or_nothing_has_changed(own_agent):
    """Whatever was written: afterwards the kernel holds the earlier limits or the new ones."""
    agent = own_agent
    one = agent.launch("sleep", "1000", limits={"pids_max": 50, "memory_max_bytes": 256 * MIB})
    choices = [
        {"pids_max": 60 + n, "memory_max_bytes": (64 + n) * MIB, "cpu_weight": 200 + n}
        for n in range(2 if SLOWNESS > 1 else 6)
    ]
    for number, asked in enumerate(choices):
        agent.kill9_amid(f"/v1/containers/{one}/update", asked, 0.002 * number * SLOWNESS)
        kept = kept_limits(agent, one)
        agent.start()
        detail = agent.detail(one)
        assert detail["drift"] == []
        assert detail["limits"] == kept
        assert kept.items() >= asked.items() or not kept.items() & asked.items()


@pytest.mark.native
def test_a_shrink_that_was_cut_short_is_undone(own_agent):
    """The agent is killed while it brings memory use down, which slows the container."""
    agent = own_agent
    one = agent.launch("dd", "if=/dev/zero", "of=/dev/null", "bs=48M")  # memory it keeps
    used = agent.cgroup_file(one, "memory", v1="memory.usage_in_bytes", v2="memory.current")
    eventually(lambda: int(used.read_text()) > 40 * MIB, timeout_s=60)
    brake = agent.cgroup_file(one, "memory", v1="memory.limit_in_bytes", v2="memory.high")
    before = brake.read_text()
    less = {"memory_max_bytes": 20 * MIB}
    connection = agent.client.connect()
    with connection.socket:
        connection.send("POST", f"/v1/containers/{one}/update", less)
        if "memory.high" in str(brake):
            eventually(lambda: brake.read_text() != before)
        else:  # v1 refuses each step, so that nothing shows when it is tried
            time.sleep(0.03 * SLOWNESS)
        agent.kill9()
    agent.start()
    assert brake.read_text() == before
    assert agent.detail(one)["drift"] == []


@pytest.mark.native
def test_a_run_that_was_not_started_leaves_nothing_when_the_agent_dies(own_agent):
    agent = own_agent
    kept = agent.create("true", auto_remove=True)  # nobody has asked for its start
    supervisor = agent.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)  # so that the start does not come to anything
    try:
        with subprocess.Popen(
            agent.cli_command("run", "--rm", "alpine", "sleep", "1000"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as client:
            eventually(lambda: len(agent.containers()) == 2)
            agent.kill9()
            os.kill(supervisor, signal.SIGCONT)
            agent.start()
            assert [c["id"] for c in agent.containers()] == [kept]
            assert client.wait(60 * SLOWNESS) == 125
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended with all its tasks
            os.kill(supervisor, signal.SIGCONT)


@pytest.mark.native
def test_the_environment_of_a_command_does_not_outlive_its_agent(own_agent):
    one = own_agent.launch("sleep", "1000")
    own_agent.kill9()
    left = own_agent.data_root / "containers" / one / "exec-0123456789.json"
    left.write_text('{"env": ["SECRET=x"]}')
    own_agent.start()
    assert not left.exists()
