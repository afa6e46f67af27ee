"""Docker's Compose, both its versions, brings a project up, changes it and takes it down."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest

from cgagent.cgroups import shares_to_weight
from tests.world import dockers
from tests.world.agent import SLOWNESS, free_port
from tests.world.composing import Compose, interrupt

pytestmark = [pytest.mark.system, pytest.mark.native]

MIB = 2**20


@pytest.fixture
def disk(tmp_path):
    """A block device; nothing is read of it."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(MIB)
    command = ["losetup", "--find", "--show", image]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture(params=["2", "5"])
def program(request):
    found = dockers.compose_2() if request.param == "2" else dockers.compose_5()
    if found is None:
        pytest.skip("this version of Compose needs a newer Go")
    return found


@contextmanager
def leaving_nothing(agent):
    """No container, network or volume is there afterwards that was not before."""
    kinds = ("containers?all=true", "networks", "volumes")

    def there():
        return {one.get("id") or one["name"] for kind in kinds for one in listed(kind)}

    def listed(kind):
        return agent.client.request("GET", f"/v1/{kind}")

    before = there()
    yield
    assert there() == before


@pytest.fixture
def compose(program, agent, host, disk, tmp_path):
    agent.client.request("GET", "/v1/networks/bridge")  # which is made when it is first asked for
    with (
        leaving_nothing(agent),
        Compose(program, host, tmp_path, PORT=str(free_port()), DISK=disk) as project,
    ):
        yield project


def test_a_project_that_is_up(compose, agent):
    words = compose.did("up", "-d", "--wait")
    assert {words[name][-1] for name in ("web-1", "db-1", "client-1")} == {"Healthy"}
    last = [words[name][-1] for name in ("setup-1", "front", "data")]
    assert last == ["Exited", "Created", "Created"]
    assert "debug-1" not in words
    check_lists(compose)
    check_networks_and_files(compose)
    check_limits(compose, agent)


def check_lists(compose):
    lines = compose("ps", "--format", "{{.Service}} {{.Command}} {{.Status}}").splitlines()
    services = {line.split()[0]: line for line in lines}
    assert services.keys() == {"db", "web", "client"}
    assert services["web"].startswith('web "sh -c \'echo web is …" Up ')
    assert services["web"].endswith(" (healthy)")
    assert set(compose("ps", "--all", "--services").split()) == {"db", "web", "client", "setup"}
    said = compose("logs", "--no-color", "web", "client").splitlines()
    assert {"web-1 | web is up in plain", "client-1 | welcome"} <= {
        " ".join(line.split()) for line in said
    }
    assert "httpd -f -p 80" in compose("top", "web")
    assert "64MiB" in compose("stats", "--no-stream", "web")
    assert "shop" in compose("ls", "-q").split()
    assert compose("images", "-q", "web")


def check_networks_and_files(compose):
    port = compose.environ["PORT"]
    assert compose("port", "web", "80") == f"127.0.0.1:{port}"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}") as answer:
        assert answer.read() == b"welcome\n"
    assert "10.212.5.10/24" in compose("exec", "-T", "web", "ip", "-4", "-o", "addr")
    ask = "for name; do nslookup $name 127.0.0.11 | grep -c 10.212.5.10; done"
    names = ("www", "shop.example", "web", "shop-web-1")
    assert compose("exec", "-T", "client", "sh", "-c", ask, "sh", *names) == "1\n1\n1\n1"
    compose("exec", "-T", "web", "ping", "-c", "1", "database")
    compose("exec", "-T", "client", "nslookup", "database", "127.0.0.11", fails=1)
    environ = compose("exec", "-T", "web", "env").splitlines()
    assert {"FROM_FILE=1", "QUOTED=a b", "MODE=plain"} <= set(environ)
    assert compose("exec", "-T", "web", "sh", "-c", "ulimit -Sn; ulimit -Hn") == "1000\n2000"
    assert " 1.0M " in compose("exec", "-T", "web", "df", "-h", "/scratch")
    compose("exec", "-T", "web", "touch", "/www/x", fails=1)


def check_limits(compose, agent):
    """In the kernel's own files."""
    ids = compose.ids()

    def held(service, controller, v1, v2):
        return agent.cgroup_file(ids[service], controller, v1=v1, v2=v2).read_text().strip()

    memory = ("memory", "memory.limit_in_bytes", "memory.max")
    assert (held("web-1", *memory), held("db-1", *memory)) == (str(64 * MIB), str(48 * MIB))
    reserved = ("memory", "memory.soft_limit_in_bytes", "memory.low")
    assert (held("web-1", *reserved), held("db-1", *reserved)) == (str(32 * MIB), str(16 * MIB))
    swap = held("web-1", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
    assert swap in {str(64 * MIB), "0"}
    pids = ("pids", "pids.max", "pids.max")
    assert (held("web-1", *pids), held("db-1", *pids)) == ("40", "30")
    cpu = ("cpu", "cpu.cfs_quota_us", "cpu.max")
    assert [held(s, *cpu).split()[0] for s in ("web-1", "db-1")] == ["50000", "25000"]
    shares = held("web-1", "cpu", "cpu.shares", "cpu.weight")
    assert shares in {"512", str(shares_to_weight(512))}
    assert held("web-1", "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    rate = held("web-1", "io", "blkio.throttle.read_bps_device", "io.max")
    assert str(MIB) in rate


def test_nothing_changes_twice_and_one_service_alone(compose):
    compose("up", "-d", "--wait")
    before = compose.ids()
    words = compose.did("up", "-d")
    assert {words[name][0] for name in ("db-1", "web-1", "client-1")} == {"Running"}
    assert compose.ids() == before
    compose.environ["MODE"] = "fancy"
    words = compose.did("up", "-d", "--wait")
    assert (words["web-1"][:2], words["web-1"][-1]) == (["Recreate", "Recreated"], "Healthy")
    after = compose.ids()
    assert {name for name in before if after[name] != before[name]} == {"web-1"}
    assert "web is up in fancy" in compose("logs", "web")
    assert compose.did("up", "-d")["web-1"][0] == "Running"
    compose("down", "--timeout", "0")
    assert compose("volumes", "-q") == "shop_data"
    compose("up", "-d", "--wait")
    starts = compose("exec", "-T", "db", "cat", "/data/starts").splitlines()
    assert len(starts) == 2, "the volume outlived its container"


def test_verbs(compose, docker):
    compose("up", "-d", "--wait")
    assert compose("exec", "-T", "db", "sh", "-c", "cat; exit 4", fails=4, stdin="in\n") == "in"
    assert compose("run", "--rm", "-T", "-e", "A=b", "setup", "sh", "-c", "echo $A") == "b"
    compose("run", "--rm", "--no-deps", "client", "sh", "-c", "exit 3", fails=3)
    assert compose.ids().keys() == {"db-1", "setup-1", "web-1", "client-1"}
    compose("up", "-d", "--no-deps", "--scale", "client=3", "client")
    assert {"client-1", "client-2", "client-3"} <= compose.ids().keys()
    compose("up", "-d", "--no-deps", "--scale", "client=1", "client")
    assert "client-2" not in compose.ids()
    compose("--profile", "debug", "up", "-d", "debug")
    assert "debug-1" in compose.ids()
    for verb, state in [
        ("pause", "paused"),
        ("unpause", "running"),
        ("restart", "running"),
        ("stop", "exited"),
        ("start", "running"),
        ("kill", "exited"),
    ]:
        compose(verb, "client")
        assert compose("ps", "-a", "--format", "{{.State}}", "client") == state
    compose("rm", "-f", "client")
    assert "client-1" not in compose.ids()
    compose("cp", "db:/data/starts", "starts")
    assert (compose.folder / "starts").read_text().strip().isdigit()
    compose("pull", "-q", "greeter")
    assert docker("images", "-q", "hello-world")
    docker("rmi", "hello-world")


def test_a_foreground_that_is_interrupted(compose, agent):
    with compose.popen("up", "--no-color") as up:
        lines = iter(up.stdout.readline, "")
        assert any("tick" in line for line in lines)
        followed = compose.popen("logs", "-f", "--no-color", "web", "client")
        with followed:
            said = interrupt_after(followed, "web is up", "tick")
        assert "web-1" in said
        assert "client-1" in said
        assert "Stopped" in interrupt(up)
    states = compose("ps", "-a", "--format", "{{.Service}} {{.State}}").splitlines()
    assert {line.split()[1] for line in states} == {"exited"}


def interrupt_after(running, *texts):
    """What a command has said when each of the texts was among it, and until its end."""
    said = ""
    for line in iter(running.stdout.readline, ""):
        said += line
        if all(text in said for text in texts):
            return said + interrupt(running)
    raise AssertionError(f"it ended before {texts}:\n{said}")


@pytest.mark.parametrize("after_s", [0.15, 0.4])
def test_an_agent_that_is_killed_amid_up(compose, agent, after_s):
    with compose.popen("up", "-d", "--wait") as up:
        time.sleep(after_s)
        agent.kill9()
        agent.start()
        up.communicate(timeout=60 * SLOWNESS)
    words = compose.did("up", "-d", "--wait")
    assert (words["web-1"][-1], words["client-1"][-1]) == ("Healthy", "Healthy")
    assert compose.ids().keys() == {"db-1", "setup-1", "web-1", "client-1"}


def test_as_a_command_of_docker(compose, program, docker, tmp_path):
    plugins = tmp_path / "cli-plugins"
    plugins.mkdir()
    (plugins / "docker-compose").symlink_to(program)

    def run(*words):
        file = str(compose.folder / "compose.yaml")
        return docker("compose", "--file", file, *words, environ=compose.environ)

    run("up", "-d", "--wait", "db")
    assert run("ps", "--services") == "db"
    assert run("exec", "-T", "db", "echo", "hi") == "hi"
    run("down", "--volumes")
    assert run("ps", "-aq") == ""
