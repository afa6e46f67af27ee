"""The client for programs, as its documentation has it, and all of its parts."""

import contextlib
import io
import itertools
import re
import time
from pathlib import Path

import pytest

from cgagent.client import (
    ChangedError,
    CommandNotFoundError,
    ConflictError,
    NotFoundError,
    connect,
)
from tests.world.agent import eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture
def client(agent):
    with connect(f"unix://{agent.socket}") as connected:
        yield connected


def test_the_documented_lines(agent, monkeypatch):
    monkeypatch.setenv("CGAGENT_SOCKET", str(agent.socket))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - our own documentation
    kernel, shown, problem = said.getvalue().rstrip("\n").replace("\n\n", "\n").split("\n")
    assert kernel.startswith(Path("/proc/sys/kernel/osrelease").read_text().split("-")[0])
    assert "'usage_bytes'" in shown or "bytes" in shown
    assert re.fullmatch(
        r"container \w{64} \| container '\w{64}' does not exist \| see cgagent ps .*", problem
    )


def test_a_containers_life(client):
    made = client.containers.create(
        "alpine",
        ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"],
        name="typed",
        labels={"test": "client"},
        limits={"pids_max": 50},
    )
    try:
        assert [c.id for c in client.containers.list(all=True, filters={"name": "typed"})] == [
            made.id
        ]
        assert client.containers.list(filters={"label": ["test=client"]}) == []
        client.containers.start("typed")
        (listed,) = client.containers.iterate(filters={"label": "test=client"}, page=1)
        assert (listed.state.status, listed.labels) == ("running", {"test": "client"})
        found = client.containers.get("typed")
        assert (found.limits["pids_max"], found.raw["config"]["image"]) == (50, "alpine")
        changed = client.containers.update("typed", {"pids_max": 60}, if_match=found.etag)
        assert changed.limits["pids_max"] == 60
        with pytest.raises(ChangedError, match="look at it again"):
            client.containers.update("typed", {"pids_max": 70}, if_match=found.etag)
        assert client.containers.get("typed").etag == changed.etag
        eventually(lambda: len(list(client.containers.logs("typed"))) == 2)
        assert {(e.stream, e.log) for e in client.containers.logs("typed")} == {
            ("stdout", "out\n"),
            ("stderr", "err\n"),
        }
        client.containers.freeze("typed")
        with pytest.raises(ConflictError):
            client.containers.exec("typed", ["true"])
        client.containers.thaw("typed")
        assert client.containers.stats("typed").usage["pids"]
        first, second = itertools.islice(client.containers.watch("typed"), 2)
        assert first.at_s <= second.at_s
        client.containers.rename("typed", "typed-2")
        client.containers.kill("typed-2")
        assert client.containers.wait("typed-2") == 137
    finally:
        client.containers.remove(made.id, force=True)


def test_commands_and_their_streams(client, container):
    one = container("sleep", "1000")
    done = client.containers.exec(one, ["sh", "-c", "cat; echo e >&2; exit 4"], input=b"given")
    assert (done.exit_code, done.stdout, done.stderr) == (4, b"given", b"e\n")
    with pytest.raises(CommandNotFoundError) as caught:
        client.containers.exec(one, ["no-such"])
    assert caught.value.object == "command no-such"
    with client.containers.open_exec(one, ["cat"]) as session:
        session.write(b"one\n")
        assert next(iter(session)).data == b"one\n"
        session.close_input()
        assert session.exit_code == 0
    assert {run.status for run in client.containers.execs(one)} == {"exited"}
    done = client.containers.run("alpine", ["wc", "-c"], input=b"12345")
    assert (done.exit_code, done.stdout.strip()) == (0, b"5")
    talker = container("cat", stdin=True)
    with client.containers.attach(talker, stdin=True) as session:
        session.write(b"hello\n")
        assert next(iter(session)).data == b"hello\n"


def test_images_networks_and_volumes(client):
    tagged = client.images.tag("alpine", "typed:1")
    assert [i.id for i in client.images.list(filters={"reference": "typed"})] == [tagged.id]
    assert b"".join(client.images.save("typed:1"))[257:262] == b"ustar"
    assert client.images.remove("typed:1") == ["Untagged: typed:1"]
    volume = client.volumes.create("typed", labels={"a": "b"}, idempotency_key="typed-volume")
    try:
        assert client.volumes.get("typed") == volume
        assert client.volumes.list(filters={"label": "a=b"}) == [volume]
    finally:
        client.volumes.remove("typed")
    network = client.networks.create("typed", labels={"a": "b"})
    try:
        assert client.networks.get(network.id[:12]) == network
        assert client.networks.list(filters={"name": "typed", "type": "custom"}) == [network]
    finally:
        client.networks.remove("typed")
    with pytest.raises(NotFoundError):
        client.networks.get("typed")


def test_groups(client, container):
    made = client.groups.create("typed", limits={"pids_max": 50}, labels={"a": "b"})
    try:
        assert client.groups.create("typed/low").name == "typed/low"
        one = container("sleep", "1000")
        assert client.containers.move(one, "typed").cgroup_path == f"{made.cgroup_path}/{one}"
        found = client.groups.get("typed")
        assert (made.limits, found.limits_held["pids_max"]) == ({"pids_max": 50}, 50)
        assert [g.name for g in client.groups.list()] == ["typed", "typed/low"]
        changed = client.groups.update("typed", budget="cpu=1h/1d", if_match=found.etag)
        assert [b["resource"] for b in changed.budgets] == ["cpu"]
        with pytest.raises(ChangedError):
            client.groups.update("typed", {"pids_max": 60}, if_match=found.etag)
        assert client.groups.stats("typed").usage["pids"]["current"] == 1
        assert next(client.groups.watch("typed")).name == "typed"
        assert client.groups.why("typed", window_s=0.2).cgroup == made.cgroup_path
        assert [sizing.group for sizing in client.groups.advise()] == ["typed", "typed/low"]
        client.groups.freeze("typed", lease_s=1000)
        assert client.groups.get("typed").status == "frozen"
        client.groups.thaw("typed")
        assert client.capacity(memory_bytes=1 << 20, group="typed").fits
        assert len(client.groups.kill("typed")) == 1
    finally:
        client.groups.remove("typed", force=True)
    with pytest.raises(NotFoundError):
        client.groups.get("typed")


def test_the_agent_itself(client, container):
    since = time.time_ns()
    one = container("true")
    client.containers.wait(one)
    assert client.version() == client.info()["version"]
    told = list(client.events(since_ns=since, filters={"container": one}))
    assert [e.action for e in told][:2] == ["create", "start"]
    (stopping,) = [j for j in client.jobs() if j.name == "start"][:1]
    assert stopping.status == "done"
    with pytest.raises(ConflictError, match="nothing to cancel"):
        client.cancel(stopping.id)
    assert isinstance(client.stats(), list)
    followed = client.events(follow=True, filters={"container": one, "event": "destroy"})
    client.containers.remove(one)
    assert next(followed).id == one
