"""Who may reach the agent and what they may do: every refusal is logged and changes nothing."""

import contextlib
import io
import json
import os
import socket
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cgagent.client import connect
from cgagent.client.http import Client
from cgagent.client.place import Place
from cgagent.client.places import client_at
from cgagent.errors import CgagentError, DeniedError
from tests.world import dockers
from tests.world.agent import SLOWNESS, Agent, eventually, free_port
from tests.world.certificates import Authority

pytestmark = [pytest.mark.system, pytest.mark.native]

POLICY = """
[[rule]]
tokens = ["watcher"]
allow = "metrics"
[[rule]]
tokens = ["reader"]
allow = "read"
[[rule]]
tokens = ["images"]
images = ["alpine"]
[[rule]]
tokens = ["groups"]
cgroup-parents = ["{parent}/team"]
[[rule]]
tokens = ["storage"]
volumes = ["team-*"]
host-paths = ["/srv"]
[[rule]]
users = [4321]
allow = "read"
[[rule]]
groups = [1234]
[[rule]]
tokens = ["plain"]
certificates = ["bob"]
[[rule]]
tokens = ["metrics", "read", "control"]
certificates = ["alice"]
privileged = true
"""
TOKENS = {
    "metrics": "metrics",
    "read": "read",
    **dict.fromkeys(
        ("control", "watcher", "reader", "images", "groups", "storage", "plain", "nobody"),
        "control",
    ),
}


@dataclass
class World:
    """An agent on a unix socket and on TCP with TLS, with a policy, and its clients."""

    agent: Agent
    folder: Path
    authority: Authority
    port: int
    tokens: dict[str, str]
    clients: dict[str, Client] = field(default_factory=dict)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def curl(self, *args, path="/v1/info", cacert=True):
        """Exit code, status and body of a request."""
        trust = ("--cacert", str(self.authority.cert)) if cacert else ()
        done = subprocess.run(
            ["curl", "-sS", "-o", "-", "-w", "\n%{http_code}", *trust, *args, f"{self.url}{path}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60 * SLOWNESS,
        )
        body, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status or 0), body + done.stderr

    def as_token(self, name):
        """A client over TLS with a token."""
        if name not in self.clients:
            self.clients[name] = self._made(name)
        return self.clients[name]

    def _made(self, name):
        place = Place(f"tcp://127.0.0.1:{self.port}")
        place.with_files(ca=str(self.authority.cert))
        place.verify = True
        place.token = self.tokens[name]
        return client_at(place)

    def log(self):
        path = self.agent.data_root / "audit.log"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def state(self):
        ask = self.agent.client.request
        things = ("containers?all=true", "volumes", "networks", "images", "tokens")
        found = {name: ask("GET", f"/v1/{name}") for name in things}
        for one in found["containers?all=true"]:
            one.pop("state")
        return json.dumps(found, sort_keys=True)


@pytest.fixture(scope="module")
def world(state_root, alpine_docker_archive, busybox_docker_archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("access")
    authority = Authority(folder / "ca", "tests")
    server = authority.server()
    port = free_port()
    policy = folder / "access.toml"
    policy.write_text("")
    tls = ("--tls", "--tlscacert", str(authority.cert))
    pair = ("--tlscert", str(server.cert), "--tlskey", str(server.key))
    where = ("--host", f"tcp://127.0.0.1:{port}", "--access-policy", str(policy))
    with tempfile.TemporaryDirectory(dir=state_root) as made:
        agent = Agent(Path(made), *where, *tls, *pair)
        policy.write_text(POLICY.format(parent=agent.cgroup_parent))
        with agent:
            agent.load(alpine_docker_archive)
            agent.load(busybox_docker_archive)
            ask = agent.client.request
            tokens = {
                name: ask("POST", "/v1/tokens", {"name": name, "scope": scope})["token"]
                for name, scope in TOKENS.items()
            }
            made_world = World(agent, folder, authority, port, tokens)
            yield made_world
            for client in made_world.clients.values():
                client.close()


@pytest.fixture
def box(world):
    """Root's, privileged, running."""
    made = world.agent.launch("sleep", "1000", privileged=True)
    yield made
    world.agent.remove(made)


@pytest.fixture
def unchanged(world):
    before = world.state()
    yield
    assert world.state() == before


def bearer(token):
    return ("-H", f"Authorization: Bearer {token}")


def pair(world, name):
    found = world.folder / "ca"
    return ("--cert", str(found / f"{name}.pem"), "--key", str(found / f"{name}-key.pem"))


# -- who is not let in --------------------------------------------------------------------------


def token(name):
    return lambda world: bearer(world.tokens[name])


def stranger(world):
    other = Authority(world.folder / "other", "others").client("eve")
    return ("--cert", str(other.cert), "--key", str(other.key))


def expired(world):
    old = world.authority.client("old", is_expired=True)
    return ("--cert", str(old.cert), "--key", str(old.key))


def with_file(size):
    def made(world):
        path = world.folder / "body"
        with path.open("wb") as file:
            file.truncate(size)
        kind = ("-H", "content-type: application/json", "-H", "Expect:")
        return (*bearer(world.tokens["control"]), *kind, "--data-binary", f"@{path}")

    return made


def plus(*more):
    return lambda world: (*bearer(world.tokens["control"]), *more)


@pytest.mark.parametrize(
    ("args", "path", "status", "text"),
    [
        pytest.param(lambda _: (), "/v1/info", 401, "client certificate, or", id="no token"),
        pytest.param(lambda _: (), "/-/healthy", 401, "client cert", id="no token, health"),
        pytest.param(lambda _: bearer("x"), "/v1/info", 401, "not known here", id="wrong token"),
        pytest.param(token("metrics"), "/v1/info", 403, "is for metrics", id="metrics-only token"),
        pytest.param(
            lambda w: (*token("read")(w), "-XPOST"),
            *("/v1/containers/prune", 403, "is for read, and this needs control"),
            id="read-only token",
        ),
        pytest.param(
            *(token("read"), "/v1/containers/x/archive?path=/", 403, "needs control"),
            id="files out with a read-only token",
        ),
        pytest.param(token("control"), "/v1/tokens", 403, "needs admin", id="tokens by a token"),
        pytest.param(stranger, "/v1/info", 0, "unknown ca", id="certificate of another CA"),
        pytest.param(expired, "/v1/info", 0, "expired", id="expired certificate"),
        pytest.param(with_file(100 << 20), "/v1/containers", 413, "", id="100 MB body"),
        pytest.param(
            *(plus("-H", "Host: evil.example"), "/v1/info", 403, "is no name of this agent's"),
            id="DNS rebinding",
        ),
        pytest.param(
            *(plus("-H", "Origin: https://evil.example"), "/v1/info", 403, "origin"),
            id="another origin",
        ),
        pytest.param(
            *(plus("-H", "Sec-Fetch-Site: cross-site"), "/v1/info", 403, "pages of others"),
            id="an image in another's page",
        ),
        pytest.param(token("nobody"), "/v1/info", 403, "no rule in", id="no rule"),
        pytest.param(token("watcher"), "/v1/info", 403, "may metrics by", id="rule: metrics"),
        pytest.param(
            lambda w: (*token("reader")(w), "-XPOST"),
            *("/v1/containers/prune", 403, "may read by the access policy"),
            id="rule: read only",
        ),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_who_is_not_let_in(world, args, path, status, text):
    before = len(world.log())
    code, answered, told = world.curl(*args(world), path=path)
    assert answered == status
    assert (code != 0) == (status == 0)
    assert text in told.lower() or text in told
    (entry,) = eventually(lambda: world.log()[before:], "nothing was logged")
    assert entry.get("status", status) == status
    assert entry["caller"]["address"] == "127.0.0.1"
    assert not any(secret in json.dumps(entry) for secret in world.tokens.values())


@pytest.mark.parametrize("over", ["tls", "unix"])
def test_a_header_of_a_megabyte(world, unchanged, over):
    before = len(world.log())
    client = world.as_token("control") if over == "tls" else world.agent.client
    connection = client.connect()
    with connection.socket as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"GET /v1/info HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20))
    (entry,) = eventually(lambda: world.log()[before:], "nothing was logged")
    assert entry["error"] == "the request's head has over 65536 bytes"


def test_a_connection_that_is_left_half_open(world, unchanged):
    before = len(world.log())
    with socket.create_connection(("127.0.0.1", world.port)) as sock:
        sock.settimeout(40)
        assert sock.recv(1) == b""
    (entry,) = eventually(lambda: world.log()[before:], "nothing was logged")
    assert entry["error"] == "it made no TLS handshake in time"


def test_a_request_that_is_left_half_open(world, unchanged):
    before = len(world.log())
    client = world.as_token("control")
    connection = client.connect()
    with connection.socket as sock:
        sock.settimeout(40)
        sock.sendall(b"GET /v1/info HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert sock.recv(1) == b""
    (entry,) = eventually(lambda: world.log()[before:], "nothing was logged")
    assert entry["error"] == "its request did not come in time"


def test_the_metrics_listener_has_names_too(world):
    before = len(world.log())
    base = ["curl", "-s", f"http://{world.agent.metrics}/metrics"]
    rebound = subprocess.run([*base, "-H", "Host: evil.example"], check=True, capture_output=True)
    assert b"is no name of this agent's" in rebound.stdout
    (entry,) = eventually(lambda: world.log()[before:], "nothing was logged")
    assert entry["caller"] == {"via": "stranger", "address": "127.0.0.1"}
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/metrics", 403)
    assert "evil.example" in entry["error"]
    assert b"cgagent_build_info" in subprocess.run(base, check=True, capture_output=True).stdout


# -- who is ------------------------------------------------------------------------------------


def test_a_certificate_lets_in(world):
    world.authority.client("alice")
    before = len(world.log())
    options = ("-XPOST", "-H", "content-type: application/json", "-d", '{"name": "by-alice"}')
    code, status, _ = world.curl(*pair(world, "alice"), *options, path="/v1/volumes")
    assert (code, status) == (0, 201)
    (entry,) = world.log()[before:]
    assert entry["caller"] == {
        "via": "certificate",
        "name": "alice",
        "address": "127.0.0.1",
        "subject": "O=tests,CN=alice",
    }
    assert entry["jobs"] == [{"name": "volume create", "volume": "by-alice", "status": "done"}]
    world.agent.client.request("DELETE", "/v1/volumes/by-alice")


def test_scopes_let_in(world):
    assert world.curl(*bearer(world.tokens["metrics"]), path="/metrics")[1] == 200
    assert world.curl(*bearer(world.tokens["metrics"]), path="/-/healthy")[1] == 200
    assert world.curl(*bearer(world.tokens["read"]), path="/v1/containers")[1] == 200
    assert world.curl(*bearer(world.tokens["reader"]), path="/v1/containers")[1] == 200


def test_a_user_of_the_socket_is_logged_and_the_log_is_roots_alone(world):
    before = len(world.log())
    world.agent.client.request("POST", "/v1/volumes", {"name": "mine"})
    world.agent.client.request("DELETE", "/v1/volumes/mine")
    made, removed = world.log()[before:]
    assert made["caller"] == {
        "via": "user",
        "name": "0",
        "uid": 0,
        "gid": 0,
        "pid": os.getpid(),
    }
    assert (made["method"], made["path"], made["status"]) == ("POST", "/v1/volumes", 201)
    assert (removed["method"], removed["path"]) == ("DELETE", "/v1/volumes/mine")
    assert (world.agent.data_root / "audit.log").stat().st_mode & 0o777 == 0o600


def test_a_token_is_revoked_and_expires(world):
    made = world.agent.cli("token", "create", "--scope", "read", "short").stdout.strip()
    assert world.curl(*bearer(made), path="/v1/info")[1] == 403  # no rule is for it
    listed = world.agent.cli("token", "ls").stdout
    assert "short" in listed
    assert made not in listed
    database = (world.agent.data_root / "cgagent.db").read_bytes()
    assert made.encode() not in database
    assert world.agent.cli("token", "revoke", "short").stdout == "short\n"
    assert world.curl(*bearer(made), path="/v1/info")[1] == 401
    body = {"name": "brief", "scope": "read", "lifetime_s": 0.001}
    brief = world.agent.client.request("POST", "/v1/tokens", body)["token"]
    assert "has expired" in world.curl(*bearer(brief))[2]
    world.agent.client.request("DELETE", "/v1/tokens/brief")


# -- what the policy refuses --------------------------------------------------------------------


def create(**fields):
    body: dict[str, Any] = {"image": "alpine", "command": ["true"], **fields}
    return ("POST", "/v1/containers", body)


def build(step, **fields):
    return ("POST", "/v1/build", {"text": f"FROM alpine\n{step}\n", **fields})


def on(path, method="POST", body=None):
    return (method, f"/v1/containers/BOX/{path}", body)


def on_parent(driver):
    return {"name": "lan", "driver": driver, "options": {"parent": "eth0"}}


DEVICE = {"path_on_host": "/dev/zero", "path_in_container": "/dev/x"}
RULES = [
    ("plain", create(privileged=True), "it is privileged"),
    ("plain", create(cap_add=["SYS_ADMIN"]), "adds capability CAP_SYS_ADMIN"),
    ("plain", create(security_opt=["seccomp=unconfined"]), "takes a barrier away"),
    ("plain", create(pid="host"), "in the host's pid namespace"),
    ("plain", create(ipc="host"), "in the host's ipc namespace"),
    ("plain", create(uts="host"), "in the host's uts namespace"),
    ("plain", create(cgroupns="host"), "in the host's cgroup namespace"),
    ("plain", create(userns="host"), "in the host's user namespace"),
    ("plain", create(networks=[{"network": "host"}]), "in the host's network namespace"),
    ("plain", create(devices=[DEVICE]), "devices of the host"),
    ("plain", create(device_cgroup_rules=["c 1:* rwm"]), "devices of the host"),
    ("plain", create(binds=["/:/host"]), "path / of the host"),
    ("plain", create(binds=["/etc:/e:ro"]), "path /etc of the host"),
    ("plain", create(mounts=[{"type": "bind", "source": "/etc", "destination": "/e"}]), "/etc"),
    ("plain", create(image="host"), "its files are the host's"),
    ("plain", create(runtime="/bin/true"), "would do on the host"),
    ("plain", create(cgroup_parent="/cgagent-test-elsewhere"), "is not below"),
    ("plain", create(oom_score_adj=-1000), "would be killed before"),
    ("plain", create(pid="container:BOX"), "it joins container"),
    ("plain", create(limits={"conf": [["memory.swappiness", "1"]]}), "by their names"),
    ("plain", on("exec", body={"command": ["true"]}), "it is privileged"),
    ("plain", on("attach"), "it is privileged"),
    ("plain", on("archive?path=/etc", "GET"), "it is privileged"),
    ("plain", on("archive?path=/etc", "HEAD"), "it is privileged"),
    ("plain", on("archive?path=/", "PUT"), "it is privileged"),
    ("plain", on("export", "GET"), "it is privileged"),
    ("plain", on("commit", body={"name": "mine:1"}), "it is privileged"),
    ("plain", on("update", body={"memory_max_bytes": 1 << 28}), "it is privileged"),
    ("plain", on("rename?name=other"), "it is privileged"),
    ("plain", on("freeze"), "it is privileged"),
    ("plain", on("kill"), "it is privileged"),
    ("plain", ("DELETE", "/v1/containers/BOX?force=true", None), "it is privileged"),
    ("plain", ("POST", "/v1/containers/adopt", {"pid": 1}), "more than its own"),
    ("plain", ("POST", "/v1/containers/prune", None), "more than its own"),
    ("plain", ("POST", "/v1/system/prune", None), "more than its own"),
    ("plain", ("POST", "/v1/images/load", {"path": "/etc/shadow"}), "more than its own"),
    ("plain", ("POST", "/v1/tokens", {"name": "more"}), "this needs admin"),
    ("plain", ("POST", "/v1/networks", on_parent("macvlan")), "has an interface of the host"),
    ("plain", ("POST", "/v1/networks", on_parent("ipvlan")), "has an interface of the host"),
    ("images", create(image="busybox"), "image busybox is none"),
    ("images", ("POST", "/v1/images/pull", {"name": "busybox"}), "image busybox is none"),
    ("images", ("POST", "/v1/images/tag", {"source": "busybox", "name": "alpine"}), "any name"),
    ("images", ("DELETE", "/v1/images/busybox", None), "image busybox is none"),
    ("images", ("GET", "/v1/images/save?names=busybox", None), "image busybox is none"),
    ("groups", create(), "give --cgroup-parent"),
    ("groups", create(cgroup_parent="teamwork"), "is not below"),
    ("groups", ("POST", "/v1/cgroups/BOXGROUP", {"action": "freeze"}), "below no parent"),
    ("groups", build("ENV A=1"), "cgroup parent"),
    ("plain", build("ENV A=1", cgroup_parent="/cgagent-test-elsewhere"), "cgroup parent"),
    ("plain", build("RUN true", network="host"), "in the host's network namespace"),
    ("plain", build("ADD http://127.0.0.1:1/x /x"), "over the host's network"),
    ("images", build("RUN true"), "any name"),
    ("reader", build("RUN true"), "this needs control"),
    ("storage", create(binds=["other:/x"]), "volume other is none"),
    ("storage", ("POST", "/v1/volumes", {"name": "other"}), "volume other is none"),
    ("storage", create(binds=["/srv/sub:/x"]), "path /srv/sub of the host"),
    ("storage", create(binds=["/srv/../etc:/x"]), "of the host is none"),
    ("storage", create(binds=["/srv/link/..:/x"]), "of the host is none"),
]


def built(body):
    """The request's line, and a context that is a Dockerfile."""
    text = body.pop("text").encode()
    yield json.dumps(body).encode() + b"\n"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    yield raw.getvalue()


def asked(client, method, path, body):
    """Raises as the client does, whatever the form of the answer."""
    if path.endswith("/attach"):
        client.upgrade(path)
    elif path.partition("?")[0].endswith(("/pull", "/load", "/commit")):
        for line in client.lines(method, path, body):
            if "error" in line:
                raise DeniedError(line["error"]["detail"])
    elif path == "/v1/build":
        for line in client.sent(path, iter(built(body))):
            if "error" in line:
                raise DeniedError(line["error"]["detail"])
    elif method == "HEAD":
        client.head(path)
    elif "/archive" in path and method == "PUT":
        client.upload(path, iter((b"\0" * 1024,)))
    else:
        client.request(method, path, body)


@pytest.mark.parametrize(
    ("who", "request_", "cause"),
    RULES,
    ids=[f"{who}: {cause}: {one[1].rpartition('/')[2][:20]}" for who, one, cause in RULES],
)
@pytest.mark.usefixtures("unchanged")
def test_what_the_policy_refuses(world, box, who, request_, cause):
    group = f"{world.agent.cgroup_parent}/{box}".lstrip("/")
    text = json.dumps(request_).replace("BOXGROUP", group).replace("BOX", box)
    before = len(world.log())
    with pytest.raises(CgagentError) as caught:
        asked(world.as_token(who), *json.loads(text))
    if request_[0] != "HEAD":  # which has no body
        assert isinstance(caught.value, DeniedError)
        assert cause in caught.value.message
    (entry,) = eventually(lambda: world.log()[before:], "nothing was logged")
    assert cause in entry["error"]
    assert entry["caller"]["name"] == who
    assert not [job for job in entry.get("jobs", []) if job["status"] == "done"]


def test_what_the_policy_allows(world):
    made = []
    parent = f"{world.agent.cgroup_parent}/team"
    for who, fields in (
        ("plain", {"limits": {"memory_max_bytes": 1 << 26}, "cap_add": ["CHOWN"]}),
        ("images", {"image": "alpine:latest"}),
        ("groups", {"cgroup_parent": parent}),
        ("groups", {"cgroup_parent": "team/a"}),
        ("storage", {"binds": ["team-data:/x", "/srv:/y"]}),
    ):
        client = world.as_token(who)
        body = {"image": "alpine", "command": ["sleep", "99"], **fields}
        made.append(client.request("POST", "/v1/containers", body)["id"])
        client.request("POST", f"/v1/containers/{made[-1]}/start")
        done = world.agent.stay(
            client.upgrade(f"/v1/containers/{made[-1]}/exec", {"command": ["id"]}), b""
        )
        assert done.exit_code == 0
        client.request("POST", f"/v1/containers/{made[-1]}/freeze")
        client.request("DELETE", f"/v1/containers/{made[-1]}?force=true")
    world.agent.client.request("DELETE", "/v1/volumes/team-data")


def test_what_is_added_to_a_container_is_judged_too(world):
    client = world.as_token("plain")
    body = {"image": "alpine", "command": ["sleep", "99"]}
    made = client.request("POST", "/v1/containers", body)["id"]
    client.request("POST", f"/v1/containers/{made}/start")
    with pytest.raises(DeniedError, match="the command would be privileged"):
        client.upgrade(f"/v1/containers/{made}/exec", {"command": ["id"], "privileged": True})
    conf = {"conf": [["memory.swappiness", "1"]]}
    with pytest.raises(DeniedError, match="by their names"):
        client.request("POST", f"/v1/containers/{made}/update", conf)
    client.request("DELETE", f"/v1/containers/{made}?force=true")


# -- docker's API -------------------------------------------------------------------------------


@pytest.fixture
def docker(world, tmp_path):
    """``docker`` over TLS with somebody's certificate; its exit code, output and errors."""

    def run(who, *args, stdin=""):
        files = world.authority.client(who)
        tls = ("--tlscacert", world.authority.cert, "--tlscert", files.cert, "--tlskey", files.key)
        where = ("--host", f"tcp://127.0.0.1:{world.port}", "--tlsverify", *map(str, tls))
        done = subprocess.run(
            [str(dockers.cli()), "--config", str(tmp_path), *where, *args],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60 * SLOWNESS,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_docker_runs_over_tls(docker):
    sent = "".join(f"{number}\n" for number in range(100_000))
    assert docker("alice", "run", "--rm", "-i", "alpine", "cat", stdin=sent) == (0, sent, "")
    assert docker("bob", "run", "--rm", "alpine", "echo", "hi") == (0, "hi\n", "")


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (("run", "--privileged", "alpine"), "it is privileged"),
        (("run", "--cap-add", "SYS_ADMIN", "alpine"), "adds capability CAP_SYS_ADMIN"),
        (("run", "--pid", "host", "alpine"), "in the host's pid namespace"),
        (("run", "--network", "host", "alpine"), "in the host's network namespace"),
        (("run", "-v", "/:/host", "alpine"), "path / of the host"),
        (("run", "--mount", "type=bind,src=/etc,dst=/e", "alpine"), "path /etc of the host"),
        (("run", "--device", "/dev/zero", "alpine"), "devices of the host"),
        (("run", "--volumes-from", "BOX", "alpine"), "path /etc of the host"),
        (("exec", "BOX", "true"), "it is privileged"),
        (("attach", "BOX"), "it is privileged"),
        (("cp", "BOX:/etc/hostname", "-"), "it is privileged"),
        (("commit", "BOX", "mine:1"), "it is privileged"),
        (("update", "--memory", "64m", "--memory-swap", "64m", "BOX"), "it is privileged"),
        (("export", "BOX"), "it is privileged"),
        (("rm", "-f", "BOX"), "it is privileged"),
        (("container", "prune", "-f"), "more than its own"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_the_policy_holds_for_docker(world, docker, args, cause):
    box = world.agent.launch("sleep", "1000", privileged=True, binds=["/etc:/e:ro"])
    before, length = world.state(), len(world.log())
    code, _, told = docker("bob", *(word.replace("BOX", box) for word in args))
    assert code != 0
    assert world.state() == before
    world.agent.remove(box)
    entries = [e for e in world.log()[length:] if cause in e.get("error", "")]
    assert entries, (told, world.log()[length:])
    assert entries[0]["caller"]["name"] == "bob"


def test_docker_has_a_token_among_its_headers(world, tmp_path):
    headers = {"Authorization": f"Bearer {world.tokens['reader']}"}
    (tmp_path / "config.json").write_text(json.dumps({"HttpHeaders": headers}))
    where = ("--host", f"tcp://127.0.0.1:{world.port}", "--tlsverify")
    docker = [str(dockers.cli()), "--config", str(tmp_path), *where]
    tls = ("--tlscacert", str(world.authority.cert), "--tlscert", "", "--tlskey", "")
    done = subprocess.run([*docker, *tls, "ps", "-q"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    command = [*docker, *tls, "volume", "create", "x"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "may read by the access policy" in done.stderr


@pytest.mark.parametrize("path", ["/v1.44/info", "/_ping", "/containers/json"])
def test_docker_routes_want_to_know_who_asks(world, path):
    assert world.curl(path=path)[1] == 401
    _, status, body = world.curl(*bearer(world.tokens["reader"]), path=path)
    assert status == 200, body


def test_a_program_comes_over_tls_with_a_token_or_by_a_context(world, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text(world.tokens["read"])
    address, ca = f"tcp://127.0.0.1:{world.port}", str(world.authority.cert)
    flags = ("--host", address, "--tlscacert", ca, "--token-file", str(token))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = world.agent.cli("context", "create", *flags, "here")
    assert made.returncode == 0, made.stderr
    for options in (
        {"host": address, "tlscacert": ca, "token_file": str(token)},
        {"context": "here"},
    ):
        with connect(**options) as agent:
            assert agent.info()["pid"] == world.agent.pid
            with pytest.raises(DeniedError, match="is for read, and this needs control") as caught:
                agent.containers.create("alpine")
            assert caught.value.kind == "denied"
