"""The command line against agents that are not on a socket of this host, and their listeners."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.world.agent import SLOWNESS, Agent, eventually, free_port
from tests.world.certificates import Authority
from tests.world.screen import Screen

pytestmark = [pytest.mark.system, pytest.mark.native]

SSH = """#!/bin/sh
# What sshd does with the command of a client that it has let in.
while [ "$1" != -- ]; do shift; done
[ "$2" = there ] || { echo "ssh: could not resolve hostname $2" >&2; exit 255; }
exec sh -c "$3"
"""


class Remote:
    """An agent with mutual TLS, and a context of that name in a home of its own."""

    def __init__(self, agent, home, port, authority):
        self.agent = agent
        self.home = home
        self.port = port
        self.authority = authority

    def environment(self, **more):
        mine = {k: v for k, v in os.environ.items() if not k.startswith("CGAGENT_")}
        return {**mine, "HOME": str(self.home), **more}

    def command(self, *args):
        return [sys.executable, "-m", "cgagent.cli.main", *args]

    def cli(self, *args, stdin="", environ=None):
        return subprocess.run(
            self.command(*args),
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(**(environ or {})),
            timeout=60 * SLOWNESS,
        )


@pytest.fixture(scope="module")
def remote(state_root, alpine_docker_archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    authority = Authority(folder / "ca", "tests")
    server, client = authority.server(), authority.client("me")
    port = free_port()
    flags = ("--tlsverify", "--tlscacert", str(authority.cert), "--tlscert", str(server.cert))
    where = ("-H", f"tcp://127.0.0.1:{port}", "--tlskey", str(server.key))
    with (
        tempfile.TemporaryDirectory(dir=state_root) as made,
        Agent(Path(made), *flags, *where) as agent,
    ):
        agent.load(alpine_docker_archive)
        one = Remote(agent, folder / "home", port, authority)
        files = ("--tlscacert", authority.cert, "--tlscert", client.cert, "--tlskey", client.key)
        done = one.cli(
            "context", "create", "far", "-H", f"tcp://127.0.0.1:{port}", *map(str, files)
        )
        assert (done.returncode, done.stderr) == (0, "")
        yield one


def test_a_run_with_input_and_output(remote):
    done = remote.cli("-c", "far", "run", "--rm", "-i", "alpine", "wc", "-c", stdin="x" * 3_000_000)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "3000000", "")


def test_input_and_output_at_once(remote):
    sent = "".join(f"{number}\n" for number in range(300_000))
    done = remote.cli("-c", "far", "run", "--rm", "-i", "alpine", "cat", stdin=sent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == sent


def test_exit_codes_and_errors(remote):
    done = remote.cli("-c", "far", "run", "--rm", "alpine", "sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    done = remote.cli("-c", "far", "run", "--rm", "nosuch/image:1", "true")
    assert done.returncode == 125


def test_the_context_of_the_environment_and_the_one_in_use(remote):
    assert remote.cli("version", environ={"CGAGENT_CONTEXT": "far"}).returncode == 0
    remote.cli("context", "use", "far")
    made = remote.cli("run", "-d", "--name", "there", "alpine", "sh", "-c", "echo hi; sleep 99")
    assert made.returncode == 0
    eventually(lambda: remote.cli("logs", "there").stdout == "hi\n", "no log")
    assert remote.cli("exec", "there", "hostname").stdout.strip() == made.stdout[:12]
    assert remote.cli("cp", "there:/etc/hostname", "-").returncode == 0
    assert remote.cli("rm", "-f", "there", "nosuch").returncode == 1
    remote.cli("context", "use", "default")


def test_a_terminal(remote, monkeypatch):
    for name, value in remote.environment().items():
        monkeypatch.setenv(name, value)
    script = "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.1; done"
    command = remote.command("-c", "far", "run", "--rm", "-it", "alpine", "sh", "-c", script)
    with Screen(command, (33, 101)) as screen:
        screen.expect(r"33 101\r\nready\r\n")
        screen.resize(44, 122)
        screen.expect(r"44 122\r\n")
        screen.type("\x03")
        assert screen.wait() == 130
        assert screen.restored


def test_a_signal_reaches_the_container(remote):
    script = "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.1; done"
    command = remote.command("-c", "far", "run", "--rm", "alpine", "sh", "-c", script)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=remote.environment()) as running:
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.readline() == b"got\n"
        assert running.wait(30 * SLOWNESS) == 5


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ((), "it listens with TLS|has hung up|closed the connection"),
        (("--tls",), "certificate required|show a certificate"),
        (("--tlsverify",), "its certificate is not taken"),
    ],
)
def test_without_what_the_agent_wants(remote, flags, complaint):
    done = remote.cli(*flags, "-H", f"tcp://127.0.0.1:{remote.port}", "ps")
    assert done.returncode == 1
    assert re.search(complaint, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_listens(remote):
    port = free_port()
    done = remote.cli("-H", f"tcp://127.0.0.1:{port}", "ps")
    assert f"no agent answers on tcp://127.0.0.1:{port}: connection refused" in done.stderr


def test_curl_speaks_to_it(remote):
    client = remote.home / ".config/cgagent/contexts/far"
    done = subprocess.run(
        [
            *("curl", "-sS", f"https://127.0.0.1:{remote.port}/v1/version"),
            *("--cacert", str(remote.authority.cert)),
            *("--cert", str(client / "cert.pem"), "--key", str(client / "key.pem")),
        ],
        check=True,
        capture_output=True,
    )
    assert json.loads(done.stdout)["api_version"] == "1"


def test_a_certificate_is_read_again(remote):
    def serial():
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{remote.port}"],
            check=False,
            capture_output=True,
            input=b"",
        )
        text = subprocess.run(
            ["openssl", "x509", "-noout", "-serial"],
            check=True,
            capture_output=True,
            input=done.stdout,
        )
        return text.stdout

    before = serial()
    assert serial() == before
    remote.authority.server()
    os.kill(remote.agent.pid, signal.SIGHUP)
    eventually(lambda: serial() != before, "the certificate is the one of before")
    assert remote.cli("-c", "far", "ps").returncode == 0
    broken = remote.authority.cert.with_name("server.pem")
    kept = broken.read_bytes()
    broken.write_text("nonsense")
    os.kill(remote.agent.pid, signal.SIGHUP)
    eventually(lambda: "of before stay in force" in remote.agent.log.read_text())
    assert remote.cli("-c", "far", "ps").returncode == 0
    broken.write_bytes(kept)


def test_attached_clients_cost_nothing_when_they_go(remote):
    """Descriptors of the agent are as many as before."""

    def descriptors():
        return len(os.listdir(f"/proc/{remote.agent.pid}/fd"))

    remote.cli("-c", "far", "ps")
    before = eventually(descriptors)
    made = remote.agent.launch("sleep", "1000")
    for _ in range(5):
        command = remote.command("-c", "far", "exec", "-i", made, "cat")
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=remote.environment(),
        ) as running:
            running.stdin.write(b"x\n")
            running.stdin.flush()
            assert running.stdout.readline() == b"x\n"
            running.kill()
    remote.agent.remove(made)
    eventually(lambda: descriptors() <= before + 2, "connections are left")


def test_strangers_keep_nobody_out(remote):
    """A thousand connections with half a handshake, or none at all."""
    with contextlib.ExitStack() as strangers:
        for number in range(1000):
            sock = strangers.enter_context(socket.create_connection(("127.0.0.1", remote.port)))
            with contextlib.suppress(ConnectionError):
                sock.send(b"\x16\x03\x01\x02\x00\x01" if number % 2 else b"")
        assert remote.cli("-c", "far", "ps").returncode == 0
        assert remote.agent.containers() == []
        assert len(os.listdir(f"/proc/{remote.agent.pid}/fd")) < 500


def test_an_agent_that_dies_lets_go_of_its_clients_and_of_no_container(remote):
    command = remote.command("-c", "far", "run", "--name", "left", "alpine", "sleep", "1000")
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=remote.environment()) as running:
        eventually(lambda: [c for c in remote.agent.containers() if c["name"] == "left"])
        eventually(lambda: remote.cli("-c", "far", "ps", "-q").stdout)
        remote.agent.kill9()
        assert running.wait(30 * SLOWNESS) == 125
        assert running.stderr.read().count(b"\n") == 1
    remote.agent.start()
    assert remote.cli("-c", "far", "ps", "--format", "{{.Names}}").stdout == "left\n"
    assert remote.cli("-c", "far", "rm", "-f", "left").returncode == 0


# -- ssh ----------------------------------------------------------------------------------------


@pytest.fixture
def ssh(remote, tmp_path):
    """An ssh that goes no further than this host, and a cgagent on its PATH."""
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    ours = tmp_path / "cgagent"
    ours.write_text(f'#!/bin/sh\nexec {sys.executable} -m cgagent.cli.main "$@"\n')
    ours.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(host, *args, **options):
        address = f"ssh://{host}{remote.agent.socket}"
        return remote.cli("-H", address, *args, environ=environ, **options)

    return run


def test_through_ssh(ssh):
    done = ssh("me@there:22", "run", "--rm", "-i", "alpine", "wc", "-c", stdin="x" * 1_000_000)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1000000", "")
    done = ssh("there", "ps", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ssh_that_does_not_come_there(ssh):
    done = ssh("elsewhere", "ps")
    assert done.returncode == 1
    assert "could not resolve hostname elsewhere" in done.stderr
    assert "ssh ended with 255" in done.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=touch", "a:b@there", "there:99999999"])
def test_what_is_no_host_for_ssh(ssh, host):
    done = ssh(host, "ps")
    assert done.returncode == 1


# -- listeners ----------------------------------------------------------------------------------


def test_tcp_on_loopback_without_tls_is_for_tokens(data_root):
    port = free_port()
    with Agent(data_root, "-H", f"tcp://127.0.0.1:{port}") as agent:
        made = agent.client.request("POST", "/v1/tokens", {"name": "t", "scope": "control"})
        url = f"http://127.0.0.1:{port}/v1/volumes"
        base = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
        assert subprocess.run(base, check=True, capture_output=True).stdout == b"401"
        token = ["-H", f"Authorization: Bearer {made['token']}"]
        assert subprocess.run([*base, *token], check=True, capture_output=True).stdout == b"200"
        environ = {**os.environ, "CGAGENT_TOKEN": made["token"]}
        command = [sys.executable, "-m", "cgagent.cli.main", "-H", f"tcp://localhost:{port}"]
        done = subprocess.run([*command, "ps"], check=True, capture_output=True, env=environ)
        assert done.stdout.startswith(b"CONTAINER ID")


FILES = ("--tlscert", "/no/cert", "--tlskey", "/no/key")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("-H", "tcp://0.0.0.0:0"), "without TLS would send tokens in the clear"),
        (("--ui-listen", "0.0.0.0:0"), "the page is served on loopback alone"),
        (("-H", "tcp://127.0.0.1:0", "--tls"), "TLS needs --tlscert"),
        (("-H", "tcp://127.0.0.1:0", "--tlsverify", "--tlscert", "/x", "--tlskey", "/x"), "tlscac"),
        (
            ("-H", "tcp://127.0.0.1:0", "--tls", "--tlscert", "/x", "--tlskey", "/x"),
            "/x, /x cannot",
        ),
        (("-H", "http://x"), "must be tcp://HOST:PORT, unix:///PATH or fd://"),
        (("--access-policy", "/no/such"), "/no/such does not exist"),
    ],
)
def test_an_agent_that_would_not_be_safe_does_not_start(data_root, flags, complaint):
    agent = Agent(data_root, *flags)
    done = subprocess.run(
        agent.command(), check=False, capture_output=True, text=True, timeout=60 * SLOWNESS
    )
    assert done.returncode == 1
    assert complaint in done.stderr
    assert not agent.socket.exists()


def test_nothing_more_listens_than_before(data_root):
    with Agent(data_root) as agent:
        inodes = {
            os.readlink(f"/proc/{agent.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{agent.pid}/fd")
        }
        listening = []
        for family in ("tcp", "tcp6"):
            for line in Path(f"/proc/{agent.pid}/net/{family}").read_text().split("\n")[1:]:
                fields = line.split()
                if fields and fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    listening.append(int(fields[1].rpartition(":")[2], 16))
        assert listening == [int(agent.metrics.rpartition(":")[2])]
        assert stat.S_IMODE(agent.socket.stat().st_mode) == 0o660


# -- users of the socket ------------------------------------------------------------------------

ASK = """
import json, os, sys
from cgagent.client.http import Client
from cgagent.errors import CgagentError
requests, uid, groups = json.loads(sys.argv[2])
os.setgroups(groups)
os.setgid(99)
os.setuid(uid)
for method, path in requests:
    try:
        Client(sys.argv[1]).request(method, path, {} if method == "POST" else None)
        print("done")
    except CgagentError as e:
        print(e.kind)
"""


def test_users_and_groups_of_the_socket_have_rules(data_root, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[[rule]]\nusers = [4321]\nallow = "read"\n[[rule]]\ngroups = [1234]\nprivileged = true\n'
    )
    folder = Path(tempfile.mkdtemp(prefix="cgagent-test-", dir="/tmp"))
    folder.chmod(0o755)
    agent = Agent(data_root, "-H", f"unix://{folder}/s", "--access-policy", str(policy))
    requests = [["GET", "/v1/containers"], ["POST", "/v1/volumes"], ["GET", "/v1/tokens"]]

    def asked(uid, *groups):
        done = subprocess.run(
            [sys.executable, "-c", ASK, f"{folder}/s", json.dumps([requests, uid, groups])],
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout.split() or done.stderr

    try:
        with agent:
            (folder / "s").chmod(0o666)
            assert asked(4321, 1234) == ["done", "denied", "denied"]
            assert asked(4322, 7, 1234) == ["done", "done", "denied"]
            assert asked(4322, 7) == ["denied"] * 3
            policy.write_text("[[rule]]\nusers = [4322]\n")
            os.kill(agent.pid, signal.SIGHUP)
            eventually(lambda: asked(4321) == ["denied"] * 3, "the policy of before is in force")
            assert asked(4322) == ["done", "done", "denied"]
            policy.write_text("[[rule]]\nusers = [")
            os.kill(agent.pid, signal.SIGHUP)
            eventually(lambda: "policy of before stays in force" in agent.log.read_text())
            assert asked(4322) == ["done", "done", "denied"]
            for volume in agent.client.request("GET", "/v1/volumes"):
                agent.client.request("DELETE", f"/v1/volumes/{volume['name']}")
    finally:
        (folder / "s").unlink(missing_ok=True)
        folder.rmdir()


def test_a_job_is_cancelled_by_its_own_caller_alone(data_root, tmp_path):
    """Over a listener that accepts and never answers: a pull that takes as long as it wants."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[[rule]]\ntokens = ["one", "two"]\n')
    port = free_port()
    agent = Agent(data_root, "-H", f"tcp://127.0.0.1:{port}", "--access-policy", str(policy))
    with socket.create_server(("127.0.0.1", 0)) as registry, agent:
        name = f"127.0.0.1:{registry.getsockname()[1]}/x"
        made = {
            who: agent.client.request("POST", "/v1/tokens", {"name": who, "scope": "control"})
            for who in ("one", "two")
        }

        def curl(who, path, *args):
            return subprocess.Popen(
                [
                    *("curl", "-s", "-XPOST", f"http://127.0.0.1:{port}{path}", *args),
                    *("-H", f"Authorization: Bearer {made[who]['token']}"),
                ],
                stdout=subprocess.PIPE,
            )

        body = ("-H", "content-type: application/json", "-d", json.dumps({"name": name}))
        pulling = curl("one", "/v1/images/pull", *body)
        running = eventually(
            lambda: [j for j in agent.client.request("GET", "/v1/jobs") if j["status"] == "running"]
        )
        assert running[0]["caller"] == "token one"
        cancel = f"/v1/jobs/{running[0]['id']}/cancel"
        assert b"is not its own" in curl("two", cancel).communicate()[0]
        assert curl("one", cancel).communicate()[0] == b""
        pulling.communicate(timeout=30 * SLOWNESS)
