"""``cgagent run`` as a user of the command line sees it: output, input, exit codes, signals."""

import hashlib
import json
import os
import signal
import socket
import subprocess

import pytest

from cgagent.errors import CommandNotFoundError
from tests.world.agent import SLOWNESS, eventually, has_v1

pytestmark = pytest.mark.system

IN_GUEST = SLOWNESS > 1
TRAP = "trap 'echo got {0}; exit 9' {0}; echo ready; while :; do sleep 0.1; done"


@pytest.mark.native
def test_output_and_error_output_stay_apart(agent):
    done = agent.cli("run", "--rm", "alpine", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)


@pytest.mark.native
@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (("alpine", "sh", "-c", "exit 3"), 3, ""),
        (("--memory", "lots", "alpine"), 125, "--memory 'lots' is not a size"),
        (("--no-such-flag", "alpine"), 125, "no-such-flag"),
        (("alpine", "/etc/passwd"), 126, "'/etc/passwd': permission denied"),
        (("alpine", "/etc"), 126, "'/etc'"),
        (("alpine", "no-such-command"), 127, "executable file not found in $PATH"),
        (("alpine", "/no/such/file"), 127, "no such file or directory"),
    ],
)
def test_exit_codes(agent, nothing_made, args, code, complaint):
    done = agent.cli("run", "--rm", *args)
    assert done.returncode == code
    assert complaint in done.stderr
    assert done.stderr.count("\n") == (1 if complaint else 0)
    assert done.stdout == ""


def test_one_request_makes_a_container_and_starts_it(agent):
    body = {"image": "alpine", "command": ["sh", "-c", "cat; exit 4"], "stdin": True, "name": "one"}
    connection = agent.client.upgrade("/v1/containers/run", {**body, "stdin_once": True})
    with connection.socket as sock:
        _, _, container = connection.location.rpartition("/")
        assert agent.detail(container)["name"] == "one"
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        received = connection.rest()
        while piece := sock.recv(4096):
            received += piece
    assert received.startswith(b"\x01\0\0\0\0\0\0\x05hello\x03\0\0\0")
    assert json.loads(received[len("12345678hello12345678") :])["exit_code"] == 4
    assert agent.wait("one") == 4
    assert agent.log_text("one") == "hello"
    agent.remove("one")


@pytest.mark.native
@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        ({"image": "no-such"}, ("Connection: Upgrade", "Upgrade: tcp"), "no_such_image"),
        ({"network": "moon"}, ("Connection: Upgrade", "Upgrade: tcp"), "invalid_input"),
        ({"limits": {"memory_max_bytes": 1}}, ("Connection: Upgrade", "Upgrade: tcp"), ""),
        ({}, (), "invalid_input"),  # nobody to be connected
    ],
)
def test_one_request_that_fails_leaves_nothing(agent, nothing_made, body, headers, kind):
    connection = agent.client.connect()
    with connection.socket:
        whole = {"image": "alpine", "command": ["true"], **body}
        connection.send("POST", "/v1/containers/run", whole, headers)
        status, answer = connection.head()
        assert 400 <= status < 500
        told = json.loads(b"".join(connection.pieces(answer)))
        assert told["kind"] == (kind or told["kind"])


@pytest.mark.native
def test_a_command_that_cannot_start_is_told_to_who_is_connected(agent):
    with pytest.raises(CommandNotFoundError, match="no-such"):
        agent.run("no-such", name="short-lived")
    eventually(lambda: "short-lived" not in [c["name"] for c in agent.containers()])


def test_a_killed_container_has_137_and_was_no_oom(agent, container):
    one = container("sleep", "1000")
    agent.post(one, "kill")
    assert agent.wait(one) == 137
    assert agent.state(one)["oom_killed"] is False


def test_oom_kill_is_told(agent, container):
    limits = ("--memory", "64m", "--memory-swap", "64m")
    # tail keeps what it reads until a line ends, and /dev/zero has no lines
    done = agent.cli("run", "--name", "hungry", *limits, "alpine", "tail", "/dev/zero")
    try:
        assert done.returncode == 137
        shown = agent.cli("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hungry")
        assert shown.stdout == "true 137\n"
        assert agent.detail("hungry")["limits"]["memory_max_bytes"] == 64 << 20
    finally:
        agent.remove("hungry")


@pytest.mark.native
def test_input_reaches_the_command(agent):
    done = agent.cli("run", "-i", "--rm", "alpine", "cat", input="hi\n")
    assert (done.stdout, done.returncode) == ("hi\n", 0)


@pytest.mark.native
def test_without_interactive_input_is_empty(agent):
    done = agent.cli("run", "--rm", "alpine", "cat", input="hi\n")
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.native
def test_much_output_arrives_unchanged(agent):
    megabytes = 10 if IN_GUEST else 100
    script = f"yes 0123456789abcdef | head -c {megabytes << 20}"
    with subprocess.Popen(
        agent.cli_command("run", "--rm", "alpine", "sh", "-c", script), stdout=subprocess.PIPE
    ) as process:
        digest, size = hashlib.md5(usedforsecurity=False), 0
        while piece := process.stdout.read(1 << 20):
            digest.update(piece)
            size += len(piece)
        assert process.wait(60 * SLOWNESS) == 0
    expected = (b"0123456789abcdef\n" * (megabytes << 20))[: megabytes << 20]
    assert size == megabytes << 20
    assert digest.digest() == hashlib.md5(expected, usedforsecurity=False).digest()


@pytest.mark.native
def test_much_input_comes_back_unchanged(agent):
    data = os.urandom((4 if IN_GUEST else 20) << 20)
    done = subprocess.run(
        agent.cli_command("run", "-i", "--rm", "alpine", "cat"),
        input=data,
        capture_output=True,
        check=True,
        timeout=120 * SLOWNESS,
    )
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr == b""


@pytest.fixture
def foreground(agent):
    """Start ``cgagent run`` and wait for its first line, ``ready``."""
    started = []

    def start(script):
        process = subprocess.Popen(
            agent.cli_command("run", "--rm", "alpine", "sh", "-c", script),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    agent.remove_all()


@pytest.mark.native
@pytest.mark.parametrize("name", ["INT", "TERM", "USR1"])
def test_signals_are_passed_on(foreground, name):
    process = foreground(TRAP.format(name))
    process.send_signal(getattr(signal, f"SIG{name}"))
    output, errors = process.communicate(timeout=20 * SLOWNESS)
    assert (output, errors, process.returncode) == (f"got {name}\n", "", 9)


@pytest.mark.native
def test_interrupts_are_passed_on_however_many_come(foreground):
    script = "trap 'echo int' INT; trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    process = foreground(script)
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "int\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20 * SLOWNESS)
    assert (process.returncode, errors) == (7, "")


@pytest.mark.native
def test_environment(agent):
    result = agent.run("env", env=["ONE=1", "TWO=a b=c"], hostname="box")
    assert set(result.stdout.splitlines()) == {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=box",
        "HOME=/root",
        "ONE=1",
        "TWO=a b=c",
    }


@pytest.mark.native
def test_environment_flag_without_value_takes_ours(agent, monkeypatch):
    monkeypatch.setenv("OURS", "mine")
    script = "echo $OURS,$SET,$(pwd),$(id -u):$(id -g),$(hostname)"
    done = agent.cli(
        *("run", "--rm", "-e", "OURS", "-e", "SET=x", "-w", "/var/new", "-u", "1000:1001"),
        *("--hostname", "box", "--entrypoint", "sh", "alpine", "-c", script),
    )
    assert (done.stdout, done.stderr) == ("mine,x,/var/new,1000:1001,box\n", "")


@pytest.mark.native
@pytest.mark.parametrize(
    ("user", "shown"),
    [("", "0:0"), ("nobody", "65534:65534"), ("0:nobody", "0:65534"), ("1234", "1234:0")],
)
def test_user(agent, user, shown):
    assert agent.run("sh", "-c", "echo $(id -u):$(id -g)", user=user).stdout == f"{shown}\n"


@pytest.mark.native
def test_volumes(agent, tmp_path):
    (tmp_path / "file").write_text("from outside\n")
    done = agent.cli(
        *("run", "--rm", "-v", f"{tmp_path}:/data", "-v", f"{tmp_path}/file:/etc/one:ro"),
        *("alpine", "sh", "-c", "cat /etc/one; echo inside >/data/new; echo no >/etc/one"),
    )
    assert done.stdout == "from outside\n"
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "new").read_text() == "inside\n"
    assert (tmp_path / "file").read_text() == "from outside\n"


@pytest.mark.native
def test_read_only_root(agent):
    script = (
        "touch /x; touch /dev/shm/x && echo writable; touch /proc/sys/kernel/x; mount | head -1"
    )
    result = agent.run("sh", "-c", script, read_only=True)
    assert "touch: /x: Read-only file system" in result.stderr
    assert result.stdout.startswith("writable\noverlay on / type overlay (ro,")


@pytest.mark.native
def test_network_none_has_only_loopback_and_it_is_up(agent):
    result = agent.run(
        "sh",
        "-c",
        "ls /sys/class/net; ip -o addr show lo; ping -c1 127.0.0.1",
        networks=[{"network": "none"}],
    )
    assert result.stdout.splitlines()[0] == "lo"
    assert "inet 127.0.0.1/8" in result.stdout
    assert "1 packets received" in result.stdout


@pytest.mark.native
def test_network_host_is_the_hosts(agent):
    result = agent.run("readlink", "/proc/self/ns/net", networks=[{"network": "host"}])
    assert result.stdout.strip() == os.readlink("/proc/self/ns/net")
    result = agent.run("readlink", "/proc/self/ns/net")
    assert result.stdout.strip() != os.readlink("/proc/self/ns/net")


@pytest.mark.native
def test_a_container_without_rm_stays_and_its_name_is_found(agent):
    done = agent.cli("run", "--name", "stays", "alpine", "true")
    try:
        assert done.returncode == 0
        assert agent.state("stays")["status"] == "exited"
    finally:
        agent.remove("stays")


@pytest.mark.native
def test_detached_with_rm_goes_away_by_itself(agent, nothing_made):
    done = agent.cli("run", "-d", "--rm", "alpine", "sleep", "0.2")
    assert len(done.stdout.strip()) == 64
    eventually(lambda: not any(c["id"] == done.stdout.strip() for c in agent.containers()))


@pytest.mark.native
def test_what_nobody_waits_for_any_more_is_not_started(agent, tmp_path, nothing_made):
    jobs = agent.client.request("GET", "/v1/jobs")
    body = {
        "image": "alpine",
        "command": ["touch", "/b/started"],
        "binds": [f"{tmp_path}:/b"],
        "auto_remove": True,
    }
    connection = agent.client.connect()
    upgrade = ("Connection: Upgrade", "Upgrade: tcp")
    os.kill(agent.pid, signal.SIGSTOP)  # so that the hang-up comes before the answer
    try:
        connection.send("POST", "/v1/containers/run", body, upgrade)
        connection.socket.close()
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    done = {job["id"] for job in jobs}
    eventually(
        lambda: [
            job
            for job in agent.client.request("GET", "/v1/jobs")
            if job["id"] not in done and job["name"] == "remove" and job["status"] != "running"
        ]
    )
    assert agent.containers() == []
    assert not (tmp_path / "started").exists()


def root_options(mounts):
    """Of the overlay that is the root, as the container's /proc/mounts has them."""
    fields = next(line.split() for line in mounts.splitlines() if line.split()[1] == "/")
    return set(fields[3].split(","))


@pytest.mark.native
def test_only_what_is_thrown_away_at_its_end_is_not_synced(agent, container):
    unsynced = {"volatile", "fsync=volatile"}  # of older and newer kernels
    assert unsynced & root_options(agent.run("cat", "/proc/mounts").stdout)
    kept = container("cat", "/proc/mounts")
    agent.wait(kept)
    assert not unsynced & root_options(agent.log_text(kept))


@pytest.mark.native
@pytest.mark.parametrize("lost", ["given up", "killed"])
def test_one_to_be_thrown_away_is_mounted_again(agent, tmp_path, lost):
    """A root that was not synced is refused by the kernel; what was set up ahead had it mounted."""
    eventually(agent.pool_is_full)
    one = agent.create("cat", "/given", auto_remove=True)
    (tmp_path / "given").write_text("here\n")
    if lost == "killed":
        agent.kill9_both()
    done = agent.cli("cp", f"{tmp_path}/given", f"{one}:/given")  # mounts it as well
    assert done.returncode == 0, done.stderr
    result = agent.stay(agent.client.upgrade(f"/v1/containers/{one}/attach?start=true"), b"")
    assert (result.exit_code, result.stdout) == (0, "here\n")


def test_the_limit_is_in_the_kernels_file_while_it_runs(agent, container):
    one = container("sleep", "1000", limits={"memory_max_bytes": 64 << 20})
    held = agent.cgroup_file(one, "memory", v1="memory.limit_in_bytes", v2="memory.max")
    assert int(held.read_text()) == 64 << 20
    swap = agent.cgroup_file(one, "memory", v1="memory.memsw.limit_in_bytes", v2="memory.swap.max")
    if swap.exists():  # docker's default: as much swap again
        assert int(swap.read_text()) == (128 if has_v1("memory") else 64) << 20


@pytest.mark.native
def test_the_built_in_image_host(agent):
    result = agent.run("sh", "-c", "cat /etc/os-release; touch /etc/x", image="host")
    assert "Debian" in result.stdout
    assert not os.path.exists("/etc/x")
