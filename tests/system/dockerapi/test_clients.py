"""Other clients of Docker's API: an old command line, docker's client for Go, skopeo."""

from __future__ import annotations

import os
import subprocess
import tarfile

import pytest

from tests.world import debian, dockers
from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def test_the_command_line_of_2020(docker):
    """Debian 12's, which asks for version 1.41 at most and takes a terminal's stream as it is."""

    def old(*args, **options):
        return docker(*args, program=dockers.debians_cli(), **options)

    assert old("version", "--format", "{{.Client.APIVersion}}") == "1.41"
    assert old("run", "--rm", "alpine", "echo", "hi") == "hi"
    assert old("run", "--rm", "-t", "alpine", "tty") == "/dev/pts/0"
    old(
        "run", "-d", "--name", "old", "--memory", "64m", "alpine", "sh", "-c", "echo said; sleep 99"
    )
    assert old("exec", "-i", "old", "cat", stdin="in\n") == "in"
    old("exec", "old", "sh", "-c", "exit 7", fails=7)
    assert old("logs", "old") == "said"
    old("cp", "old:/etc/hostname", "-")
    assert old("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "old").startswith("10.201.")
    assert "sleep 99" in old("top", "old")
    assert "64MiB" in old("stats", "--no-stream", "old")
    assert "old" in old("ps", "--format", "{{.Names}}")
    assert "alpine" in old("images", "--format", "{{.Repository}}").splitlines()
    assert "executable file not found" in old("run", "--rm", "alpine", "nope", fails=127)
    assert "TYPE" in old("system", "df")
    old("network", "create", "older")
    old("network", "rm", "older")
    old("volume", "create", "older")
    assert "older" in old("volume", "prune", "-f")
    old("rm", "-f", "old")


def test_every_call_of_dockers_client_for_go(host, docker, docker_hub, tmp_path):
    program = dockers.go_program("dockercalls")
    if program is None:
        pytest.skip("docker's client needs a Go of 2025")
    done = subprocess.run(
        [program],
        check=True,
        capture_output=True,
        text=True,
        timeout=120 * SLOWNESS,
        env={
            **os.environ,
            "DOCKER_HOST": host,
            "HOME": str(tmp_path),
            "REGISTRY": docker_hub.address,
        },
    )
    answers = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    refused = {name: text for name, text in answers.items() if text != "ok"}
    assert len(answers) > 60
    assert refused == {
        "ContainerResize": "Error response from daemon: container renamed has no terminal",
        "no container": "Error response from daemon: No such container: nobody",
        "SwarmInspect": refused.get("SwarmInspect"),
    }
    assert "not a swarm manager" in refused["SwarmInspect"]


def test_skopeo_copies_out_of_and_into_the_agent(host, docker, tmp_path):
    debian.install("skopeo")

    def copy(*args):
        done = subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--quiet", *args],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    archive = f"docker-archive:{tmp_path / 'a.tar'}:copied:one"
    copy("--src-daemon-host", host, "docker-daemon:alpine:latest", archive)
    copy("--dest-daemon-host", host, archive, "docker-daemon:copied:two")
    assert docker("run", "--rm", "copied:two", "echo", "hi") == "hi"
    docker("rmi", "copied:two")


_BUILDAH = """set -e
mount -t tmpfs none /run
ln -s "$1" /run/docker.sock
buildah() { command buildah --root "$0/root" --runroot "$0/run" --storage-driver vfs "$@"; }
made=$(buildah from docker-daemon:alpine:latest)
buildah config --env A=b "$made"
buildah commit --quiet "$made" docker-daemon:built:one
"""


def test_buildah_takes_an_image_and_gives_another_one(host, docker, tmp_path):
    """It looks for docker's socket in its usual place alone, which is only here the agent's."""
    debian.install("buildah")
    socket = host.removeprefix("unix://")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _BUILDAH, str(tmp_path), socket],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "A=b" in docker("run", "--rm", "built:one", "env").splitlines()
    docker("rmi", "built:one")


def test_testcontainers_for_go(host, docker, tmp_path):
    """What is left behind is removed by its reaper, which needs the socket in a container."""
    program, reaper = map(dockers.go_program, ("testcontainers", "reaper"))
    if program is None or reaper is None:
        pytest.skip("testcontainers needs a Go of 2025")
    archive, image = tmp_path / "reaper.tar", "testcontainers/ryuk:0.14.0"
    with tarfile.open(archive, "w") as tar:
        tar.add(reaper, "reaper")
    docker("import", "-c", 'ENTRYPOINT ["/reaper"]', "-c", "EXPOSE 8080", str(archive), image)

    def run(*words, **environ):
        done = subprocess.run(
            [program, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=60 * SLOWNESS,
            env={**os.environ, "DOCKER_HOST": host, "HOME": str(tmp_path), **environ},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "welcome\n0 b\n\n"

    run(TESTCONTAINERS_RYUK_DISABLED="true")
    assert docker("ps", "-aq") == ""
    run("leave")
    assert "busybox" in docker("ps", "--format", "{{.Image}}").splitlines()
    eventually(lambda: docker("ps", "-aq") == "", "what the reaper removes")
    docker("rmi", image)


_TESTCONTAINERS = """
from testcontainers.core.container import DockerContainer

asked = DockerContainer("alpine").with_command("nc -lk -p 80 -e echo hi").with_exposed_ports(80)
with asked.with_env("A", "b") as made:
    print(made.get_exposed_port(80), made.exec(["sh", "-c", "echo $A"]).output)
"""
_AIODOCKER = """
import asyncio, os, aiodocker

async def main():
    docker = aiodocker.Docker(url=os.environ["DOCKER_HOST"])
    config = {"Image": "alpine", "Cmd": ["sh", "-c", "echo out; exec sleep 100"]}
    made = await docker.containers.create_or_replace(config=config, name="async")
    await made.start()
    lines = []
    while not lines:
        lines = await made.log(stdout=True)
    command = await made.exec(["echo", "in"])
    async with command.start() as stream:
        message = await stream.read_out()
    print(lines, message.data)
    await made.delete(force=True)
    await docker.close()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("script", "printed"),
    [(_TESTCONTAINERS, r"\d+ b'b\n'"), (_AIODOCKER, r"['out\n'] b'in\n'")],
    ids=["testcontainers", "aiodocker"],
)
def test_other_libraries_for_python(host, docker, tmp_path, script, printed):
    python = dockers.python_library() / "bin" / "python"
    done = subprocess.run(
        [python, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60 * SLOWNESS,
        env={
            **os.environ,
            "DOCKER_HOST": host,
            "HOME": str(tmp_path),
            "TESTCONTAINERS_RYUK_DISABLED": "true",  # it cannot be had without Docker Hub
        },
    )
    assert done.returncode == 0, done.stderr
    assert printed.replace(r"\d+ ", "") in done.stdout
