"""Commands on containers: list, look, stop, signal, log, attach, exec."""

import json
import re
import select
import subprocess
import threading
import time

import pytest

from cgagent.errors import (
    CommandNotFoundError,
    ConflictError,
    InvalidInputError,
    NotExecutableError,
    NotFoundError,
)
from tests.world.agent import SLOWNESS, eventually

pytestmark = pytest.mark.system
ENDED = "not running|ended before the command could run|does not exist"

FOREVER = ("sleep", "1000")
ON_TERM = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done"


def logged(agent, container, text):
    return eventually(lambda: text in agent.log_text(container), text)


@pytest.mark.native
def test_ps_lists_what_runs_and_with_all_everything(agent, container):
    running, ended = container(*FOREVER, name="runs"), container("true", name="ended")
    agent.wait(ended)
    shown = agent.cli("ps").stdout.splitlines()
    assert shown[0].split() == [
        "CONTAINER",
        "ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ]
    assert [line.split()[-1] for line in shown[1:]] == ["runs"]
    assert re.search(rf'^{running[:12]} +alpine +"sleep 1000" +.* ago +Up .* +runs$', shown[1])
    everything = agent.cli("ps", "-a").stdout
    assert re.search(rf"^{ended[:12]} .* Exited \(0\) .* ago +ended$", everything, re.MULTILINE)
    ids = agent.cli("ps", "-aq").stdout.split()
    assert set(ids) == {running[:12], ended[:12]}
    assert agent.cli("ps", "-q", "--no-trunc").stdout.split() == [running]


def test_create_then_start(agent, container):
    done = agent.cli("create", "--name", "made", "alpine", "sh", "-c", "echo hello; exit 4")
    try:
        assert done.returncode == 0
        assert agent.state("made")["status"] == "created"
        assert agent.detail("made")["id"] == done.stdout.strip()
        started = agent.cli("start", "made")
        assert (started.stdout, started.returncode) == ("made\n", 0)
        assert agent.cli("wait", "made").stdout == "4\n"
        assert agent.cli("logs", "made").stdout == "hello\n"
        agent.post("made", "start")
        assert agent.wait("made") == 4
        assert agent.log_text("made") == "hello\nhello\n"
    finally:
        agent.remove("made")


@pytest.mark.native
def test_names_ids_and_beginnings_of_ids_are_found(agent, container):
    one = container(*FOREVER, name="the-name")
    for reference in ("the-name", one, one[:12], one[:6]):
        assert agent.detail(reference)["id"] == one
    with pytest.raises(NotFoundError, match="'nothing' does not exist"):
        agent.detail("nothing")


@pytest.mark.native
def test_logs(agent, container):
    one = container("sh", "-c", "for i in 1 2 3; do echo line $i; done; echo oops >&2; echo end")
    agent.wait(one)
    done = agent.cli("logs", one)
    assert (done.stdout, done.stderr) == ("line 1\nline 2\nline 3\nend\n", "oops\n")
    assert [e["log"] for e in agent.logs(one, stderr="false", tail=2)] == ["line 3\n", "end\n"]
    assert agent.logs(one, tail=0) == []
    assert [e["log"] for e in agent.logs(one, stdout="false")] == ["oops\n"]
    tail = agent.cli("logs", "--tail", "1", "-t", one)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (end|oops)\n", tail.stdout + tail.stderr
    )


@pytest.mark.native
def test_a_log_is_json_lines_as_docker_writes_them(agent, container):
    one = container("printf", r"a\nno end")
    agent.wait(one)
    with open(agent.detail(one)["log_path"], encoding="utf-8") as f:
        entries = [json.loads(line) for line in f]
    assert [(e["log"], e["stream"]) for e in entries] == [("a\n", "stdout"), ("no end", "stdout")]


@pytest.mark.native
def test_logs_follow_until_the_end(agent, container):
    one = container("sh", "-c", "echo first; sleep 1; echo second; exit 3")
    done = agent.cli("logs", "-f", one)
    assert (done.stdout, done.returncode) == ("first\nsecond\n", 0)


@pytest.mark.native
def test_stop_lets_the_command_end_by_itself(agent, container):
    one = container("sh", "-c", ON_TERM)
    logged(agent, one, "ready")
    done = agent.cli("stop", one)
    assert (done.stdout, done.returncode) == (f"{one}\n", 0)
    assert agent.state(one)["exit_code"] == 5
    assert agent.log_text(one) == "ready\nbye\n"
    agent.post(one, "stop")  # one that does not run is left alone


def test_stop_kills_after_its_time_out(agent, container):
    one = container("sh", "-c", "trap : TERM; echo ready; while :; do sleep 0.1; done")
    logged(agent, one, "ready")
    begin = time.monotonic()
    agent.post(one, "stop?timeout_s=1")
    assert 1 <= time.monotonic() - begin < 6 * SLOWNESS
    assert agent.state(one)["exit_code"] == 137


@pytest.mark.native
def test_stop_sends_the_signal_asked_for(agent, container):
    script = "trap 'exit 6' USR1; echo ready; while :; do sleep 0.1; done"
    one = container("sh", "-c", script, stop_signal="SIGUSR1")
    logged(agent, one, "ready")
    agent.post(one, "stop")
    assert agent.state(one)["exit_code"] == 6


def test_kill_sends_any_signal(agent, container):
    one = container("sh", "-c", ON_TERM.replace("TERM", "37"))
    logged(agent, one, "ready")
    assert agent.cli("kill", "-s", "RTMIN+3", one).returncode == 0
    assert agent.wait(one) == 5
    with pytest.raises(ConflictError, match="is not running"):
        agent.post(one, "kill")
    with pytest.raises(InvalidInputError, match="signal 'NO' is not known"):
        agent.post(one, "kill?signal=NO")


@pytest.mark.native
@pytest.mark.parametrize("auto_remove", [False, True])
def test_restart_is_a_new_process_of_the_same_container(agent, container, auto_remove):
    counted = "echo $RANDOM >>/runs; wc -l </runs; exec sleep 1000"
    one = container("sh", "-c", counted, auto_remove=auto_remove)
    logged(agent, one, "1\n")
    before = agent.state(one)
    agent.post(one, "restart?timeout_s=0")
    after = agent.state(one)
    assert after["pid"] != before["pid"]
    assert after["started_ns"] > before["started_ns"]
    logged(agent, one, "2\n")  # its files are still there
    agent.post(one, "stop?timeout_s=0")
    if auto_remove:  # when it is its end
        eventually(lambda: one not in {c["id"] for c in agent.containers()})


@pytest.mark.native
def test_rm(agent, container):
    one = container(*FOREVER)
    refused = agent.cli("rm", one)
    assert refused.returncode == 1
    assert re.fullmatch(r"cgagent: container \S+ is running; .*--force\n", refused.stderr)
    assert agent.cli("rm", "-f", one).returncode == 0
    with pytest.raises(NotFoundError):
        agent.detail(one)
    assert not (agent.data_root / "containers" / one).exists()


@pytest.mark.native
def test_one_failure_does_not_stop_the_rest(agent, container):
    one, two = container("true"), container("true")
    agent.wait(one), agent.wait(two)
    done = agent.cli("rm", one, "absent", two)
    assert done.stdout == f"{one}\n{two}\n"
    assert done.stderr.startswith("cgagent: container 'absent' does not exist")
    assert done.returncode == 1


@pytest.mark.native
def test_wait_for_several(agent, container):
    one, two = container("sh", "-c", "exit 1"), container("sh", "-c", "sleep 0.5; exit 2")
    assert agent.cli("wait", one, two).stdout == "1\n2\n"


@pytest.mark.native
def test_attach_gives_output_from_now_on_and_the_exit_code(agent, container):
    one = container("sh", "-c", "read line; echo got $line; exit 8", stdin=True)
    done = agent.cli("attach", one, input="hello\n")
    assert (done.stdout, done.stderr, done.returncode) == ("got hello\n", "", 8)
    again = agent.cli("attach", one)
    assert again.returncode == 1
    assert "is not running" in again.stderr


@pytest.mark.native
def test_two_clients_see_the_same(agent, container):
    script = "while read x; do echo $x; [ $x != end ] || exit 1; done"
    one = container("sh", "-c", script, stdin=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    typing = subprocess.Popen(agent.cli_command("attach", one), **pipes)
    watching = subprocess.Popen(agent.cli_command("attach", "--no-stdin", one), **pipes)

    def early_is_seen():
        print("early", file=typing.stdin, flush=True)
        return select.select([watching.stdout], [], [], 0.1)[0]

    try:
        eventually(early_is_seen)
        for client, typed in ((typing, "one\ntwo\nend\n"), (watching, None)):
            output, _ = client.communicate(typed, timeout=20 * SLOWNESS)
            assert output.rpartition("early\n")[2] == "one\ntwo\nend\n"
            assert client.returncode == 1
    finally:
        for client in (typing, watching):
            client.kill()
            client.communicate()


@pytest.mark.native
def test_exec_on_the_command_line(agent, container):
    one = container(*FOREVER, env=["FROM=container", "SHARED=old"])
    script = "cat; echo $FROM $SHARED $NEW $(id -u) $(pwd); echo err >&2; exit 7"
    done = agent.cli(
        *("exec", "-i", "-e", "SHARED=new", "-e", "NEW=x", "-u", "nobody", "-w", "/tmp"),
        *(one, "sh", "-c", script),
        input="in\n",
    )
    assert done.stdout == "in\ncontainer new x 65534 /tmp\n"
    assert done.stderr == "err\n"
    assert done.returncode == 7
    assert agent.state(one)["status"] == "running"


@pytest.mark.native
def test_exec_exit_codes(agent, container):
    one = container(*FOREVER)
    assert agent.exec(one, "sh", "-c", "exit 9").exit_code == 9
    assert agent.exec(one, "sh", "-c", "kill -9 $$").exit_code == 137
    with pytest.raises(CommandNotFoundError):
        agent.exec(one, "no-such-command")
    with pytest.raises(NotExecutableError):
        agent.exec(one, "/etc/passwd")
    with pytest.raises(InvalidInputError, match="user 'nosuch'"):
        agent.exec(one, "true", user="nosuch")
    assert agent.cli("exec", one, "no-such-command").returncode == 127
    assert agent.cli("exec", one, "/etc/passwd").returncode == 126


@pytest.mark.native
def test_exec_detached_runs_on(agent, container):
    one = container(*FOREVER)
    done = agent.cli("exec", "-d", one, "sh", "-c", "echo done >/mark")
    assert len(done.stdout.strip()) == 64
    eventually(lambda: agent.exec(one, "cat", "/mark").stdout == "done\n")


def test_a_command_beside_the_end_of_its_container(agent, container):
    """It runs, or there is a conflict; never anything else."""
    for number in range(10):
        one = container("sleep", "0.2", auto_remove=number % 2 == 0)
        with pytest.raises((ConflictError, NotFoundError), match=ENDED):
            run_until_refused(agent, one)


def run_until_refused(agent, container):
    while True:
        agent.post(container, "exec", {"command": ["true"]})


def test_exec_in_one_that_does_not_run_or_is_frozen(agent, container):
    one = container("true")
    agent.wait(one)
    with pytest.raises(ConflictError, match=r"is not running \(exited\)"):
        agent.exec(one, "true")
    two = container(*FOREVER)
    agent.post(two, "freeze")
    with pytest.raises(ConflictError, match="is frozen; thaw it first"):
        agent.exec(two, "true")
    agent.post(two, "thaw")
    assert agent.exec(two, "true").exit_code == 0


@pytest.mark.native
def test_no_file_of_an_exec_stays(agent, container):
    one = container(*FOREVER)
    folder = agent.data_root / "containers" / one
    before = {p.name for p in folder.iterdir()}
    for _ in range(3):
        agent.exec(one, "true")
    eventually(lambda: {p.name for p in folder.iterdir()} == before)


@pytest.mark.native
def test_inspect_has_dockers_shape(agent, container):
    one = container(*FOREVER, name="shown", env=["A=1"], labels={"k": "v"})
    (found,) = json.loads(agent.cli("inspect", "shown").stdout)
    assert found["Id"] == one
    assert found["State"]["Running"] is True
    assert found["State"]["Pid"] == agent.state(one)["pid"]
    assert found["Config"]["Labels"] == {"k": "v"}
    assert "A=1" in found["Config"]["Env"]
    form = agent.cli("inspect", "-f", "{{.Name}} {{json .Config.Cmd}} {{.State.Pid}}", one).stdout
    assert form == f'/shown ["sleep","1000"] {found["State"]["Pid"]}\n'
    wrong = agent.cli("inspect", "-f", "{{.No.Such}}", one)
    assert wrong.returncode != 0
    assert "there is no field" in wrong.stderr


def test_stats(agent, container):
    one = container("sh", "-c", "while :; do :; done", limits={"memory_max_bytes": 64 << 20})

    def rates():
        return agent.client.request("GET", f"/v1/containers/{one}/stats")["rates"]

    eventually(lambda: (r := rates()) and r["interval_s"] > 0.5)
    header, line = agent.cli("stats", "--no-stream", one).stdout.splitlines()
    assert header.startswith("CONTAINER ID")
    assert line.startswith(one[:12])
    assert "/ 64MiB" in line
    percent = float(re.search(r"(\d+\.\d+)%", line)[1])
    assert 1 < percent < 110
    agent.post(one, "kill")
    agent.wait(one)
    refused = agent.cli("stats", "--no-stream", one)
    assert refused.returncode == 1
    assert "is not running" in refused.stderr


@pytest.mark.native
def test_events(agent, container):
    begin = time.time_ns()
    heard = []

    def listen():
        for event in agent_lines:
            heard.append((event["action"], event["id"]))
            if event["action"] == "destroy":
                return

    agent_lines = agent.client.lines("GET", f"/v1/events?follow=true&since_ns={begin}")
    listener = threading.Thread(target=listen)
    listener.start()
    one = container("sh", "-c", "exit 3")
    agent.wait(one)
    agent.remove(one)
    listener.join(20 * SLOWNESS)
    agent_lines.close()
    assert [action for action, id_ in heard if id_ == one] == ["create", "start", "die", "destroy"]
    shown = agent.cli("events", "--no-follow").stdout
    assert re.search(rf"container die {one} \(exitCode=3, image=alpine, name=\w+\)", shown)


@pytest.mark.native
def test_jobs_are_listed_with_outcome_and_duration(agent, container):
    one = container(*FOREVER)
    agent.post(one, "freeze")
    with pytest.raises(ConflictError):
        agent.post(one, "freeze")
    jobs = [
        j for j in agent.client.request("GET", "/v1/jobs") if j["arguments"].get("container") == one
    ]
    assert [(j["name"], j["status"]) for j in jobs] == [
        ("freeze", "failed"),
        ("freeze", "done"),
        ("start", "done"),
    ]
    assert all(j["duration_s"] > 0 for j in jobs)
    assert "frozen already" in jobs[0]["error"]
    shown = agent.cli("jobs").stdout
    assert re.search(rf"freeze +failed +\d+\.\d+ +container={one[:12]} +container .* frozen", shown)


@pytest.mark.native
def test_info_and_version(agent):
    info = agent.client.request("GET", "/v1/info")
    assert info["pid"] == agent.pid
    assert info["data_root"] == str(agent.data_root)
    assert info["cgroup_parent"] == agent.cgroup_parent
    shown = agent.cli("info").stdout
    assert f"data root:      {agent.data_root}" in shown or str(agent.data_root) in shown
    version = agent.cli("version").stdout.splitlines()
    assert version[0].removeprefix("client: ") == version[1].removeprefix("agent:  ")


@pytest.mark.native
def test_images_and_rmi(agent):
    shown = agent.cli("images").stdout
    assert re.search(r"^alpine +latest +[0-9a-f]{12} +\d", shown, re.MULTILINE)
    one = agent.create("true", image="busybox")
    try:
        refused = agent.cli("rmi", "busybox")
        assert refused.returncode == 1
        assert "container" in refused.stderr
    finally:
        agent.remove(one)
    assert re.search(r"^busybox +latest ", agent.cli("images").stdout, re.MULTILINE)


@pytest.mark.native
def test_health(agent):
    for path in ("/-/healthy", "/-/ready"):
        connection = agent.client.connect()
        with connection.socket:
            connection.send("GET", path, None)
            status, headers = connection.head()
            assert status == 200
            assert b"".join(connection.pieces(headers)) in {b"healthy\n", b"ready\n"}


@pytest.mark.native
def test_the_api_describes_itself(agent):
    paths = agent.client.request("GET", "/openapi.json")["paths"]
    assert "/v1/containers/{reference}/freeze" in paths
