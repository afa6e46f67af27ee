"""What builds are made of and kept in bounds by: contexts, secrets, repositories, their cache."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile

import pytest

from cgagent.errors import InvalidInputError
from tests.world.agent import SLOWNESS, Agent, eventually
from tests.world.building import left, nothing_is_left

pytestmark = pytest.mark.system


@pytest.mark.native
@pytest.mark.parametrize(
    "query",
    [
        "cachefrom=[1]",
        'buildargs={"A":"%5Cud800"}',
        'labels={"a":"%5Cu0000"}',
        "buildargs=" + "[" * 9000,
    ],
)
def test_odd_parameters_are_refused(agent, query):
    with pytest.raises(InvalidInputError):
        agent.client.request("POST", f"/build?{query}")


@pytest.mark.native
def test_a_secret_that_is_no_base64_leaves_nothing(agent):
    line = json.dumps({"secrets": {"a": "\u00e9"}}).encode() + b"\n"
    with pytest.raises(InvalidInputError, match="not base64"):
        list(agent.client.sent("/v1/build", iter((line,))))


@pytest.mark.native
def test_no_trace_of_a_secret(own_agent, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM alpine\nRUN --mount=type=secret,id=k,env=K --mount=type=secret,id=k,target=/k "
        '[ "$K" = "$(cat /k)" ] && [ -n "$K" ]\n'
    )
    (tmp_path / ".dockerignore").write_text("key\n")
    secret = f"secret-{os.urandom(8).hex()}"
    (tmp_path / "key").write_text(secret)
    done = own_agent.cli("build", "--secret", f"id=k,src={tmp_path}/key", str(tmp_path))
    assert done.returncode == 0, done.stderr
    above = own_agent.data_root.parent
    found = subprocess.run(["grep", "-rl", secret, above], capture_output=True, check=False)
    assert found.stdout == b""


@pytest.mark.native
def test_a_context_that_takes_long_to_read_ends_with_its_client(agent):
    """Four TiB of holes, all of which would be read for its digest."""
    numbers = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (("Dockerfile", b"FROM alpine\n"), ("holes", numbers)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == "holes":
                sparse = {"major": "1", "minor": "0", "name": name, "realsize": str(1 << 42)}
                info.pax_headers = {f"GNU.sparse.{key}": text for key, text in sparse.items()}
            tar.addfile(info, io.BytesIO(content))
    connection = agent.client.connect()
    with connection.socket:
        connection.send_stream("POST", "/build", iter((raw.getvalue(),)))
        eventually(lambda: left(agent)["directories"], "it did not begin", 20 * SLOWNESS)
    eventually(lambda: nothing_is_left(agent), "something was left", 20 * SLOWNESS)


def context(*entries, text="FROM alpine\n"):
    """A tar: a Dockerfile, and names with a link's target (``->``) or a number of bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, what in (("Dockerfile", text), *entries):
            info = tarfile.TarInfo(name)
            content = what.encode() if isinstance(what, str) else bytes(what)
            if isinstance(what, str) and what.startswith("->"):
                info.type, info.linkname, content = tarfile.SYMTYPE, what[2:], b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


@pytest.mark.native
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("link", "->none"), ("link/x", 1)], "entry 'link/x'"),
        ([("file", 1), ("file/x", 1)], "entry 'file/x'"),
        ([("n" * 300, 1)], "File name too long"),
    ],
)
def test_an_entry_of_a_context_that_cannot_be(agent, entries, message):
    with pytest.raises(InvalidInputError, match=message):
        list(agent.client.sent("/build", iter((context(*entries),))))
    assert nothing_is_left(agent), left(agent)


def test_a_context_is_unpacked_within_the_limits(agent, tmp_path):
    """Its files are in memory of the build's group; their entries are more than that may have."""
    (tmp_path / "Dockerfile").write_text("FROM alpine\n")
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(os.urandom(1 << 20))
    report = tmp_path / "report.json"
    done = agent.cli("build", "--memory", "64m", "--report", str(report), str(tmp_path))
    assert done.returncode == 0, done.stderr
    total = json.loads(report.read_text())["total"]
    assert total["memory_peak_bytes"] > 3 << 20
    assert total["cpu_ns"] > 0


@pytest.mark.native
def test_a_secret_is_not_shown(agent, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM alpine\nRUN --mount=type=secret,id=k,env=K test ${#K} = 6 && sleep 1000\n"
    )
    running = subprocess.Popen(
        agent.cli_command("build", "--secret", "id=k,env=KEY", str(tmp_path)),
        env={**os.environ, "KEY": "s3cret"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        (step,) = eventually(
            lambda: [c for c in agent.containers() if c["state"]["status"] == "running"],
            "the step does not run",
            30 * SLOWNESS,
        )
        for path in (f"/v1/containers/{step['id']}", f"/containers/{step['id']}/json"):
            assert "s3cret" not in json.dumps(agent.client.request("GET", path))
        shown = agent.cli("exec", step["id"], "env").stdout
        assert "s3cret" not in shown
        bundle = agent.data_root / "containers" / step["id"]
        assert b"s3cret" not in (bundle / "config.json").read_bytes()
    finally:
        running.terminate()
        running.wait()
    eventually(lambda: nothing_is_left(agent), "something was left", 20 * SLOWNESS)


@pytest.mark.native
def test_the_cache_is_held_to_its_size(data_root, alpine_docker_archive, tmp_path):
    with Agent(data_root, "--build-cache-size", "5m") as agent:
        agent.load(alpine_docker_archive)
        for number in range(4):
            (tmp_path / "Dockerfile").write_text(
                f"FROM alpine\nRUN head -c 2m /dev/urandom > /{number}\nRUN touch /small\n"
            )
            assert (
                agent.cli("build", "-o", str(tmp_path / "out.tar"), str(tmp_path)).returncode == 0
            )

        def kept():
            found = agent.client.request("GET", "/v1/build/cache")
            return found if sum(one["size_bytes"] for one in found) <= 5 << 20 else None

        found = eventually(kept, "the cache is over its size", 20 * SLOWNESS)
        assert any("> /3" in one["description"] for one in found)
        assert not any("> /0" in one["description"] for one in found)


@pytest.fixture
def repository(tmp_path):
    """A repository, served by git itself: its URL."""
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "file").write_text("first\n")
    (work / "sub" / "program").write_text("#!/bin/sh\n")
    (work / "sub" / "program").chmod(0o755)
    (work / ".gitattributes").write_text("file export-ignore\n")
    user = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-C", str(work))

    def git(*words):
        subprocess.run(["git", *user, *words], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "first")
    git("tag", "v1")
    (work / "file").write_text("second\n")
    git("commit", "-qam", "second")
    served = tmp_path / "served"
    served.mkdir()
    git("clone", "-q", "--bare", str(work), str(served / "it.git"))
    port = str(20000 + os.getpid() % 10000)
    where = ("--listen=127.0.0.1", f"--port={port}", f"--base-path={served}", "--export-all")
    daemon = subprocess.Popen(["git", "daemon", "--reuseaddr", *where, str(served)])
    url = f"git://127.0.0.1:{port}/it.git"
    asked = ["git", "ls-remote", url]
    eventually(lambda: not subprocess.run(asked, check=False, capture_output=True).returncode)
    yield url
    daemon.terminate()
    daemon.wait()


@pytest.mark.native
def test_a_repository(build, agent, repository, tmp_path):
    built = build(
        f"FROM alpine\nADD {repository} /newest\nADD --chown=3:4 {repository}#v1:sub /tagged/\n",
        *("-t", "cloned:1"),
    )
    assert "CACHED" not in built.stderr
    shown = agent.run(
        *("sh", "-c", "cat /newest/file; stat -c '%n %a %u:%g' /newest/sub/program /tagged/*"),
        image="cloned:1",
    ).stdout
    assert shown.split("\n")[:3] == [
        "second",
        "/newest/sub/program 755 0:0",
        "/tagged/program 755 3:4",
    ]
    again = build(f"FROM alpine\nADD {repository} /newest\n")
    assert again.stderr.count("CACHED") == 1
    for reference, message in (
        ("#none", "it has no branch, tag or commit none"),
        ("#:none", "no directory none"),
    ):
        done = build(f"FROM alpine\nADD {repository}{reference} /x\n", fails=True)
        assert message in done.stderr
    done = build("FROM alpine\nADD git://127.0.0.1:1/x /x\n", fails=True)
    assert "cannot be fetched" in done.stderr
    assert nothing_is_left(agent), left(agent)
