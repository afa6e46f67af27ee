"""Builds: Dockerfiles as people write them, the cache, limits and accounts, what is left."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile

import pytest

from tests.world.agent import SLOWNESS, eventually
from tests.world.buildahs import RECORD
from tests.world.building import left, nothing_is_left
from tests.world.dockerfiles import CASES
from tests.world.dockerfiles.case import changes, entries, settings

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def recorded():
    """What Debian 13's buildah made of the same Dockerfiles."""
    return json.loads(RECORD.read_text())["cases"]


@pytest.fixture(scope="module")
def base_files(agent):
    """The files of alpine."""
    container = agent.create("none")
    raw = b"".join(agent.client.download(f"/v1/containers/{container}/export"))
    agent.remove(container)
    return listed(raw)


def listed(raw):
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return entries(tar.getmembers(), tar)


@pytest.mark.native
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_people_write(agent, tmp_path, case, recorded, base_files):
    context = tmp_path / "context"
    context.mkdir()
    case.write(context)
    name = f"built:{case.name}"
    done = subprocess.run(
        agent.cli_command("build", "-t", name, *case.flags, "."),
        cwd=context,
        check=False,
        capture_output=True,
        text=True,
        timeout=60 * SLOWNESS,
    )
    assert done.returncode == 0, done.stderr
    try:
        config = agent.client.request("GET", f"/v1/images/{name}")["document"]["config"]
        assert {key: config.get(key) for key in case.config} == dict(case.config)
        container = agent.create("none", image=name)
        raw = b"".join(agent.client.download(f"/v1/containers/{container}/export"))
        agent.remove(container)
    finally:
        agent.cli("rmi", "-f", name)
    found = files(raw)
    for path, wanted in case.expected.items():
        assert path in found, sorted(found)[-40:]
        mode, uid, gid, content = found[path]
        seen = content if isinstance(wanted, str) else (mode, uid, gid, content)
        assert seen == wanted, path
    for path in case.absent:
        assert path not in found
        assert not any(name.startswith(f"{path}/") for name in found)
    if case.name in recorded:
        of_buildah = recorded[case.name]
        assert_same(settings(config), of_buildah["config"], case.otherwise)
        assert_same(changes(base_files, listed(raw)), of_buildah["files"], case.otherwise)
    assert nothing_is_left(agent), left(agent)


def assert_same(ours, theirs, otherwise):
    def but_for(found):
        return {name: value for name, value in found.items() if name not in otherwise}

    assert but_for(ours) == but_for(theirs)


def files(raw):
    found = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        for one in tar:
            source = tar.extractfile(one) if one.isreg() or one.islnk() else None
            content = source.read().decode(errors="replace") if source else ""
            content = f"->{one.linkname}" if one.issym() else content
            found[one.name.removeprefix("./")] = (one.mode, one.uid, one.gid, content)
    return found


@pytest.mark.native
def test_the_cache_is_by_content(build):
    text = "FROM alpine\nENV A=1\nCOPY f /f\nRUN cat /f > /g\n"
    first = build(text, files={"f": "1\n"})
    assert "CACHED" not in first.stderr
    again = build(text, files={"f": "1\n"})
    assert again.stderr.count("CACHED") == 3
    assert again.stdout == first.stdout
    other = build(text, files={"f": "2\n"})
    assert other.stderr.count("CACHED") == 1
    assert build(text, "--no-cache", files={"f": "1\n"}).stderr.count("CACHED") == 0
    assert build(f"{text}CMD x\n", files={"f": "1\n"}).stderr.count("CACHED") == 3


@pytest.mark.native
def test_a_cache_that_is_an_image(build, agent):
    text = "FROM alpine\nRUN echo 1 > /one\nRUN echo 2 > /two\n"
    build(text, "-t", "source:1")
    agent.cli("builder", "prune", "-f")
    assert build(text).stderr.count("CACHED") == 0
    agent.cli("builder", "prune", "-f")
    assert build(text, "--cache-from", "source:1").stderr.count("CACHED") == 2


@pytest.mark.native
def test_prune_and_df(build, agent):
    build(
        "FROM alpine\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/x bs=1M count=2\n"
        "RUN dd if=/dev/zero of=/y bs=1M count=3\nRUN rm /y\n"
    )
    row = next(r for r in agent.cli("system", "df").stdout.split("\n") if "Build Cache" in r)
    assert row.split()[2:4] == ["4", "0"]
    agent.cli("image", "prune", "-f")
    done = agent.cli("build", "prune", "-f")
    freed = done.stdout.split("Total reclaimed space: ")[1]
    assert float(freed.split("MiB")[0]) > 4
    assert agent.client.request("GET", "/v1/build/cache") == []


@pytest.mark.native
def test_outputs(build, agent, tmp_path):
    text = 'FROM scratch\nCOPY f /dir/f\nCMD ["x"]\n'
    given = {"f": "1\n"}
    build(text, "-o", str(tmp_path / "out"), files=given)
    assert (tmp_path / "out" / "dir" / "f").read_text() == "1\n"
    for kind, member in (("oci", "oci-layout"), ("docker", "manifest.json"), ("tar", "dir/f")):
        where = tmp_path / f"{kind}.tar"
        build(text, "-o", f"type={kind},dest={where}", files=given)
        with tarfile.open(where) as tar:
            assert member in [name.removeprefix("./") for name in tar.getnames()]
    build(text, "--iidfile", str(tmp_path / "id"), "-q", files=given)
    image = (tmp_path / "id").read_text()
    assert agent.client.request("GET", f"/v1/images/{image}")["id"] == image


@pytest.mark.native
def test_contexts_and_dockerfiles(agent, tmp_path):
    def built(*args, stdin=b""):
        done = subprocess.run(
            agent.cli_command("build", "-q", *args),
            check=False,
            capture_output=True,
            input=stdin,
            timeout=60 * SLOWNESS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    (tmp_path / "f").write_text("1\n")
    text = b"FROM scratch\nCOPY f /\n"
    (tmp_path / "Other").write_bytes(text)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "D").write_bytes(text)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:xz") as tar:
        for name in ("f", "Other"):
            tar.add(tmp_path / name, name)
    (tmp_path / "context.tar").write_bytes(raw.getvalue())
    images = {
        built("-f", str(tmp_path / "Other"), str(tmp_path)),
        built("-f", str(elsewhere / "D"), str(tmp_path)),
        built("-f", "-", str(tmp_path), stdin=text),
        built("-f", "Other", "-", stdin=raw.getvalue()),
        built("-f", "Other", str(tmp_path / "context.tar")),
    }
    assert len(images) == 1
    images.add(built("-", stdin=b"FROM alpine\nLABEL a=b\n"))
    for image in images:
        agent.client.request("DELETE", f"/v1/images/{image}?force=true")
    agent.cli("builder", "prune", "-f")


@pytest.mark.native
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM alpine\nRUN exit 3\n", "returned a non-zero code: 3"),
        ("FROM alpine\nCOPY none /x\n", "step 2/2 (COPY none /x): none: no such file"),
        ("FROM alpine\nCOPY --from=alpine /none /x\n", "none: no such file"),
        ("FROM alpine\nCOPY --chown=nobody-here f /x\n", "unable to find user nobody-here"),
        ("FROM alpine\nFOO x\n", "line 2: unknown instruction: FOO"),
        ("FROM alpine\nRUN --mount=type=secret,id=s,required true\n", "secret s is required"),
        ("FROM host\n", "FROM host"),
        ("FROM alpine\nRUN --network=host true\n", "--network host"),
        ('FROM alpine\nRUN ["/none"]\n', "/none"),
        ("FROM alpine\nENV A=${B:?it is needed}\n", "it is needed"),
        ("FROM alpine AS a\nCOPY --from=a /x /y\n", "image docker.io/library/a"),
        ("FROM alpine\nARG N=0\nRUN --mount=from=$N,target=/m true\n", "no stage before it"),
        ("FROM alpine\nRUN --mount=source=*,target=/m true\n", "source * matches 2 files"),
        ("FROM alpine\nRUN --mount=type=cache,target=/c,uid=99999999999 true\n", "is not a number"),
        ("FROM alpine\nCOPY --chown=4294967295 f /x\n", "unable to find user"),
        ("FROM alpine\nCOPY <<" + "x" * 300 + " /y/\n" + "x" * 300, "no name of a file"),
        ("FROM alpine\nADD http://[::1/ /x\n", "ADD http://[::1/"),
        ("FROM alpine\nADD http://127.0.0.1:1/x /x\n", "cannot be fetched"),
    ],
)
def test_mistakes(build, agent, text, message):
    done = build(text, "-t", "broken:1", files={"f": ""}, fails=True)
    assert message in done.stderr
    assert "broken" not in agent.cli("images").stdout
    assert nothing_is_left(agent), left(agent)


@pytest.mark.native
def test_triggers_of_the_base_and_stages_at_once(build, agent):
    build(
        "FROM alpine\nONBUILD COPY f /triggered\nONBUILD RUN cat /triggered > /again\n",
        *("-t", "trigger:1"),
        files={"f": ""},
    )
    build(
        "FROM trigger:1 AS a\nRUN --mount=type=cache,target=/c touch /c/a; "
        "until [ -e /c/b ]; do sleep 0.1; done\n"
        "FROM alpine AS b\nRUN --mount=type=cache,target=/c touch /c/b; "
        "until [ -e /c/a ]; do sleep 0.1; done; touch /b\n"
        "FROM a\nCOPY --from=b /b /\n",
        *("-t", "both:1"),
        files={"f": "text\n"},
    )
    assert agent.run("cat", "/again", "/b", image="both:1").stdout == "text\n"


def test_limits_and_accounts(build, agent, tmp_path):
    report = tmp_path / "report.json"
    build(
        "FROM alpine\nRUN head -c 20m /dev/zero | tail -c 20m > /dev/null\n"
        "RUN i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done\nRUN head -c 3m /dev/zero > /f\n"
        "COPY g /g\n",
        *("--memory", "256m", "--pids-limit", "50", "--report", str(report)),
        files={"g": "1\n"},
    )
    found = json.loads(report.read_text())
    base, memory, cpu, size, copied = found["steps"]
    assert memory["memory_peak_bytes"] > 20 << 20
    assert cpu["cpu_ns"] > 0
    assert size["size_bytes"] == 3 << 20
    assert copied["size_bytes"] == 2
    assert found["total"]["cpu_ns"] >= cpu["cpu_ns"]
    assert found["total"]["steps"] == 5
    assert base["cached"] is False
    history = agent.cli("history", "--usage", "--format", "{{.CPU}} {{.CreatedBy}}", found["image"])
    assert history.stdout.split("\n")[0].endswith("s COPY g /g")


def test_a_step_over_the_memory_limit_ends_the_build(build, agent):
    done = build(
        "FROM alpine\nRUN head -c 200m /dev/zero | tail -c 200m > /dev/null\nRUN true\n",
        *("--memory", "64m", "--memory-swap", "64m"),
        fails=True,
    )
    assert "step 2/3 (RUN head" in done.stderr
    assert "memory limit of 64MiB" in done.stderr
    assert "its peak was 6" in done.stderr
    assert nothing_is_left(agent), left(agent)


@pytest.mark.native
def test_the_limit_holds_all_steps_together(build):
    """What one step alone may have, two at once may not."""
    eater = (
        "FROM alpine AS {0}\nRUN --mount=type=cache,target=/c touch /c/{0}; "
        "until [ -e /c/{1} ]; do sleep 0.1; done; "
        "(head -c 40m /dev/zero; sleep 3) | tail -c 40m > /dev/null && touch /done\n"
    )
    flags = ("--memory", "70m", "--memory-swap", "70m")
    build(eater.format("a", "a"), *flags)
    both = "FROM alpine\nCOPY --from=a /done /a\nCOPY --from=b /done /b\n"
    text = eater.format("a", "b") + eater.format("b", "a") + both
    assert "memory limit of 70MiB" in build(text, *flags, fails=True).stderr


@pytest.mark.native
def test_nothing_is_left_of_what_is_cancelled_or_killed(own_agent, tmp_path):
    agent = own_agent
    (tmp_path / "Dockerfile").write_text(
        "FROM alpine AS a\nRUN touch /a; sleep 1000\nFROM alpine\nRUN sleep 1000\n"
        "COPY --from=a /a /a\n"
    )
    images = agent.cli("images", "-aq").stdout

    def begun():
        running = subprocess.Popen(
            agent.cli_command("build", "-t", "never:1", "--memory", "200m", str(tmp_path)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(
            lambda: sum(c["state"]["status"] == "running" for c in agent.containers()) == 2,
            "the steps did not begin",
            30 * SLOWNESS,
        )
        return running

    running = begun()
    running.terminate()
    running.wait()
    eventually(lambda: nothing_is_left(agent), "something was left", 20 * SLOWNESS)

    running = begun()
    agent.kill9()
    running.wait()
    agent.start()
    eventually(lambda: nothing_is_left(agent), "something was left", 20 * SLOWNESS)
    assert agent.cli("images", "-aq").stdout == images
