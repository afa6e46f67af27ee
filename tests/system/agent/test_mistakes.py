"""Wrong requests: one line that says what to do, the right code and status, nothing half-made."""

import io
import json
import os
import re
import socket
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from cgagent.errors import (
    HTTP_STATUS,
    CgagentError,
    ConflictError,
    InvalidInputError,
    NoSuchImageError,
    NotFoundError,
)
from tests.world.agent import SLOWNESS, Agent, eventually, free_port

pytestmark = [
    pytest.mark.system,
    pytest.mark.native,
    pytest.mark.usefixtures("nothing_made"),
]


PROBLEM = {
    *("type", "title", "status", "detail", "instance"),  # RFC 9457's
    *("kind", "object", "cause", "next_step"),
}


def status_of(agent, method, path, body=None, raw=None):
    """The HTTP status and the error's object, which has a kind of this status."""
    connection = agent.client.connect()
    with connection.socket:
        if raw is None:
            connection.send(method, path, body)
        else:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(raw)}\r\n\r\n"
            connection.socket.sendall(head.encode() + raw)
        status, headers = connection.head()
        answer = json.loads(b"".join(connection.pieces(headers)))
    assert headers["content-type"] == "application/problem+json"
    assert set(answer) == PROBLEM
    assert answer["status"] == status
    assert HTTP_STATUS[answer["kind"]] == status or status == 405
    assert answer["detail"].startswith(answer["cause"])
    assert "\n" not in answer["detail"]
    return status, answer["detail"]


# Through the command line: what a user types.
@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ("run --memory lots alpine", "--memory 'lots' is not a size; write a number with b, k"),
        ("run --memory 1k alpine", "memory limit 1024 bytes is below .* no container starts"),
        ("run --memory 900t alpine", "is larger than the host's"),
        ("run --cpus nan alpine", "--cpus 'nan' must be a positive number"),
        ("run --cpus 99 alpine", "cpus 99 is not in 0.01..[0-9]+: this host has [0-9]+ CPUs"),
        ("run -v nothing alpine", "volume destination 'nothing' must be an absolute path"),
        ("run -v /tmp:/x:rx alpine", "invalid mode: 'rx'"),
        ("run --nosuch alpine", "unrecognized arguments|not known|--nosuch"),
        ("run", "required: IMAGE"),
        ("pull Alpine", "Alpine.*lower"),
        ("frobnicate", "command 'frobnicate' is not known; see cgagent --help"),
        ("load -i /no/such.tar", "archive /no/such.tar does not exist"),
        ("stop -t soon x", "--time 'soon' is not a duration"),
        ("update x", "no limit is given"),
        ("--host ftp://x ps", "--host 'ftp://x' must be unix:///PATH or a path, tcp://HOST:PORT"),
    ],
)
def test_one_line_on_standard_error(agent, args, complaint):
    done = agent.cli(*args.split())
    assert done.stdout == ""
    line = rf"(pulling .*\n)?cgagent: .*({complaint}).*\n"
    assert re.fullmatch(line, done.stderr), done.stderr
    is_run = args.split()[0] == "run"
    assert done.returncode in ({125} if is_run else {1, 125})


# Through the API: what the engine refuses.
@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"image": "no-such-image"}, NoSuchImageError, "no-such-image"),
        ({"image": ""}, InvalidInputError, "image"),
        ({"image": "a" * 5000}, CgagentError, "aaa"),
        ({"limits": {"memory_max_bytes": 1024}}, InvalidInputError, "is below"),
        ({"limits": {"memory_max_bytes": 1 << 60}}, InvalidInputError, "larger than the host"),
        ({"limits": {"memory_max_bytes": -1}}, InvalidInputError, "memory_max_bytes"),
        ({"limits": {"cpus": -1}}, InvalidInputError, "cpus"),
        ({"limits": {"cpus": 99}}, InvalidInputError, "this host has"),
        ({"limits": {"pids_max": -2}}, InvalidInputError, "pids_max"),
        ({"limits": {"memroy_max_bytes": 1}}, InvalidInputError, "memroy_max_bytes"),
        ({"limits": {"cpu_weight": 10001}}, InvalidInputError, "cpu"),
        ({"limits": {"memory_swappiness": 1000}}, InvalidInputError, "swappiness"),
        ({"comand": ["x"]}, InvalidInputError, "comand: extra inputs"),
        ({"name": "-bad"}, InvalidInputError, "container name '-bad' is not valid"),
        ({"name": "a" * 256}, InvalidInputError, "is not valid"),
        ({"env": ["NUL=\0"]}, InvalidInputError, "has a NUL in it"),
        ({"env": ["=x"]}, InvalidInputError, "is not NAME=VALUE"),
        ({"command": ["a\0b"]}, InvalidInputError, "NUL"),
        ({"command": [""]}, InvalidInputError, "no command"),
        ({"user": "a\0b"}, InvalidInputError, "NUL|user"),
        ({"working_dir": "relative"}, InvalidInputError, "must be an absolute path"),
        ({"working_dir": "/a\0b"}, InvalidInputError, "NUL|working dir"),
        ({"hostname": "h" * 65}, InvalidInputError, "hostname"),
        ({"networks": [{"network": "moon"}]}, NotFoundError, "network moon not found"),
        ({"stop_signal": "SIGNOT"}, InvalidInputError, "signal 'SIGNOT' is not known"),
        (
            {"mounts": [{"type": "bind", "source": "/no/such", "destination": "/x"}]},
            InvalidInputError,
            "bind source path does not exist: /no/such; create it first",
        ),
        (
            {"mounts": [{"type": "bind", "source": "name", "destination": "/x"}]},
            InvalidInputError,
            "must be an absolute path",
        ),
        (
            {"binds": ["/tmp:/"]},
            InvalidInputError,
            "other than /",
        ),
        (
            {"limits": {"cpuset_cpus": "x-y"}},
            InvalidInputError,
            "limit cpuset_cpus: 'x-y' is not a list such as 0-3,7",
        ),
        (
            {"binds": ["/tmp\0:/x"]},
            InvalidInputError,
            "NUL|volume",
        ),
    ],
)
def test_create_refuses(agent, change, error, complaint):
    with pytest.raises(error, match=complaint) as caught:
        agent.create(**{"image": "alpine", **change})
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"user": "nosuch"}, "user 'nosuch' is not in the container's /etc/passwd"),
        ({"user": "0:nosuch"}, "group 'nosuch'"),
        ({"user": str(2**32)}, "is larger than"),
        ({"working_dir": "/etc/passwd/x"}, "working directory"),
        ({"binds": ["/tmp:/etc/passwd/x"]}, "mount on /etc/passwd/x: .* is no directory"),
        ({"binds": ["/tmp:/etc/passwd"]}, "mount on /etc/passwd: .* is no directory"),
        ({"limits": {"cpuset_cpus": "4000"}}, "cpuset"),
        ({"limits": {"io_max": [{"major": 4000, "minor": 7, "rbps": 1 << 20}]}}, "4000:7|io"),
    ],
)
def test_start_refuses(agent, change, complaint):
    with pytest.raises(CgagentError, match=complaint) as caught:
        agent.run("true", **change)
    assert HTTP_STATUS[caught.value.kind] < 500


def test_a_name_is_taken(agent):
    one = agent.create("true", name="only-one")
    try:
        with pytest.raises(ConflictError, match="'only-one' is taken; remove that container"):
            agent.create("true", name="only-one")
    finally:
        agent.remove(one)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/containers/absent", 404),
        ("DELETE", "/v1/containers/absent", 404),
        ("GET", "/v1/containers/absent/logs", 404),
        ("GET", "/v1/containers/absent/stats", 404),
        *(
            ("POST", f"/v1/containers/absent/{verb}", 404)
            for verb in ("start", "stop", "kill", "restart", "freeze", "thaw", "wait")
        ),
        ("GET", "/v1/images/absent", 404),
        ("DELETE", "/v1/images/absent", 404),
        ("GET", "/v1/jobs/99999999", 404),
        ("GET", "/v1/jobs/x", 400),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/containers", 405),
        ("POST", "/v1/containers/absent/freeze?lease_s=inf", 400),
        ("POST", "/v1/containers/absent/stop?timeout_s=inf", 400),
        ("GET", f"/v1/events?since_ns={10**25}", 400),
        ("GET", "/v1/containers/a%00b", 400),
        ("POST", "/v1/containers/absent/wait?condition=never", 400),
        ("GET", "/v1/containers/absent/logs?tail=-1", 400),
        ("GET", "/v1/containers/absent/stats?format=xml", 400),
    ],
)
def test_http_status(agent, method, path, status):
    assert status_of(agent, method, path)[0] == status


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"nonsense", b'{"image": 5}', b"", b"\xff\xfe", b'{"image": "\\ud800"}']
)
def test_a_body_that_is_no_request(agent, raw):
    assert status_of(agent, "POST", "/v1/containers", raw=raw)[0] == 400


def test_attach_wants_an_upgrade(agent):
    one = agent.create("true")
    try:
        status, message = status_of(agent, "POST", f"/v1/containers/{one}/attach", {})
        assert status == 400
        assert "Upgrade: tcp" in message
    finally:
        agent.remove(one)


def test_archives_that_are_none(agent, tmp_path, alpine_docker_archive):
    whole = alpine_docker_archive.read_bytes()
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "text.tar").write_text("no archive at all\n" * 100)
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    images = agent.client.request("GET", "/v1/images")
    for archive in sorted(tmp_path.iterdir()):
        done = agent.cli("load", "-i", str(archive))
        assert done.returncode == 1, archive
        assert re.fullmatch(r"cgagent: .*\n", done.stderr), done.stderr
        assert archive.name in done.stderr
    assert agent.client.request("GET", "/v1/images") == images


def test_no_registry_answers(agent):
    done = agent.cli("run", "--rm", f"127.0.0.1:{free_port()}/some/thing")
    assert done.returncode == 125
    assert "pulling" in done.stderr
    assert "refused" in done.stderr.lower()


def test_no_agent(tmp_path):
    from cgagent.client.http import Client
    from cgagent.errors import UnavailableError

    with pytest.raises(UnavailableError, match="start one with cgagent serve"):
        Client(str(tmp_path / "none.sock")).request("GET", "/v1/info")


def test_no_start_leaves_no_agent(agent, tmp_path, monkeypatch):
    done = subprocess.run(
        [*agent.cli_command()[:3], "--no-start", "ps"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "CGAGENT_SOCKET": str(tmp_path / "none.sock")},
    )
    assert done.returncode == 1
    assert re.fullmatch(r"cgagent: no agent listens on .*; start one with .*\n", done.stderr)


def serve_fails(command):
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60 * SLOWNESS
    )
    *_, last = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert last.startswith("cgagent: ")
    return last


def test_a_second_agent(agent, data_root):
    taken = serve_fails(agent.command("--socket", str(data_root / "s"), "--metrics-listen", ""))
    assert f"is in use by another agent (pid {agent.pid})" in taken
    listens = serve_fails(
        agent.command("--data-root", str(data_root / "d"), "--metrics-listen", "")
    )
    assert f"socket directory {agent.socket.parent} is in use by another agent" in listens
    assert agent.answers()
    assert agent.run("echo", "fine").stdout == "fine\n"


def test_the_metrics_port_is_in_use(data_root):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        other = Agent(data_root)
        other.metrics = f"127.0.0.1:{busy.getsockname()[1]}"
        line = serve_fails(other.command())
    assert f"address {other.metrics} cannot be bound: it is in use" in line
    assert "--metrics-listen" in line
    assert not other.socket.exists()


@pytest.mark.parametrize(
    ("flag", "value", "complaint"),
    [
        ("--cgroup-parent", "relative", "must be an absolute path"),
        ("--metrics-listen", "nowhere", "must be HOST:PORT"),
        ("--sample-interval", "0", "positive number of seconds"),
        ("--config", "/no/such/file", "does not exist"),
    ],
)
def test_serve_refuses(data_root, flag, value, complaint):
    assert complaint in serve_fails(Agent(data_root).command(flag, value))


@contextmanager
def small_disk(data_root, size):
    small = data_root / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(small)], check=True)
    try:
        yield small
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_full_disk(data_root, alpine_docker_archive, busybox_docker_archive):
    """Everything that needs room fails with 507, and the agent goes on."""
    with small_disk(data_root, "8m") as small, Agent(small) as agent:
        agent.load(busybox_docker_archive)
        eventually(agent.pool_is_full)
        before = {p for p in small.rglob("*") if "cgagent.db" not in p.name}
        lines = list(
            agent.client.lines("POST", "/v1/images/load", {"path": str(alpine_docker_archive)})
        )
        assert lines[-1]["error"]["kind"] == "no_space", lines[-1]
        assert {p for p in small.rglob("*") if "cgagent.db" not in p.name} == before
        fill(small / "filler")
        status, message = status_of(
            agent, "POST", "/v1/containers", {"image": "busybox", "command": ["true"]}
        )
        assert (status, "full" in message or "space" in message) == (507, True)
        assert agent.containers() == []
        os.unlink(small / "filler")
        assert agent.run("echo", "room", image="busybox").stdout == "room\n"


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_containers_are_ended_and_removed_on_a_full_disk(data_root, busybox_docker_archive, policy):
    """Also by an agent that is started there."""
    with small_disk(data_root, "16m") as small, Agent(small) as agent:
        agent.load(busybox_docker_archive)
        options = {"image": "busybox", "restart": {"name": policy}}
        killed, stopped, removed = (agent.launch("sleep", "1000", **options) for _ in range(3))
        fill(small / "filler")
        agent.kill9()
        fill(small / "filler2")
        agent.start()
        assert agent.client.request("GET", "/v1/info")["data_root_free_bytes"] < 2 << 20
        agent.post(killed, "kill")
        agent.post(stopped, "stop?timeout_s=0")
        agent.remove(removed)
        assert agent.wait(killed) == 137
        states = {c["id"]: c["state"]["status"] for c in agent.containers()}
        assert states == {killed: "exited", stopped: "exited"}
        agent.kill9()
        agent.start()
        assert {c["id"]: c["state"]["status"] for c in agent.containers()} == states
        agent.remove(killed)
        agent.remove(stopped)
        assert agent.containers() == []
        os.unlink(small / "filler")
        assert agent.run("echo", "room", image="busybox").stdout == "room\n"


def fill(path: Path):
    with path.open("wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while f.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def test_a_container_that_fills_the_disk_is_not_stopped(data_root, busybox_docker_archive):
    """Its log is what is lost, and the loss is told."""
    with small_disk(data_root, "12m") as small, Agent(small) as agent:
        agent.load(busybox_docker_archive)
        one = agent.launch(
            "sh", "-c", "yes $(printf %0999d 0) | head -c 12000000; exit 3", image="busybox"
        )
        assert agent.wait(one) == 3
        assert agent.state(one)["log_dropped_bytes"] > 0
        agent.remove(one)
        assert agent.run("echo", "on", image="busybox").stdout == "on\n"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"command": []}, "command"),
        ({"command": [""]}, "no command"),
        ({"command": ["a\0"]}, "NUL"),
        ({"env": ["NOVALUE"]}, "is not NAME=VALUE"),
        ({"working_dir": "relative"}, "must be an absolute path"),
        ({"user": "\0"}, "NUL"),
        ({"nosuch": 1}, "nosuch"),
    ],
)
def test_exec_refuses(agent, change, complaint):
    one = agent.launch("sleep", "1000")
    try:
        path = f"/v1/containers/{one}/exec"
        status, message = status_of(agent, "POST", path, {"command": ["true"], **change})
        assert status == 400
        assert complaint in message
    finally:
        agent.remove(one)


def test_an_image_without_a_command(agent, tmp_path):
    """One that somebody imported from a bare tar, say."""
    archive = tmp_path / "bare.tar"
    config = {"architecture": "amd64", "os": "linux", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": []}
    listing = [{"Config": "c.json", "RepoTags": ["bare:1"], "Layers": []}]
    with tarfile.open(archive, "w") as tar:
        for name, value in (("manifest.json", listing), ("c.json", config)):
            data = json.dumps(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    agent.load(archive)
    try:
        with pytest.raises(InvalidInputError, match="has no command of its own; give one after"):
            agent.create(image="bare:1")
    finally:
        assert agent.cli("rmi", "bare:1").returncode == 0
