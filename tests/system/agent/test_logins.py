"""login, logout, push, search and registries, as typed."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.world import debian
from tests.world.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    file = tmp_path_factory.mktemp("htpasswd") / "users"
    debian.install("apache2-utils")
    command = ["htpasswd", "-Bbc", file, "me", "secret-7"]
    subprocess.run(command, check=True, capture_output=True)
    with Registry(auth={"htpasswd": {"realm": "test", "path": str(file)}}) as running:
        yield running


@pytest.fixture
def typed(agent, tmp_path):
    """Run a command with a Docker configuration of the test's own."""

    def run(*command, **options):
        return agent.cli(*command, environ={"DOCKER_CONFIG": str(tmp_path)}, **options)

    return run


def test_login_push_pull_logout(agent, typed, guarded, tmp_path, busybox_docker_archive):
    name = f"{guarded.address}/mine/busybox:1"
    wrong = typed("login", "-u", "me", "--password-stdin", guarded.address, input="wrong\n")
    assert wrong.returncode == 1
    assert "denies access to me" in wrong.stderr
    assert not (tmp_path / "config.json").exists()
    done = typed("login", "-u", "me", "--password-stdin", guarded.address, input="secret-7\n")
    assert (done.returncode, done.stdout) == (0, "Login Succeeded\n")
    assert list(json.loads((tmp_path / "config.json").read_text())["auths"]) == [guarded.address]
    archive = tmp_path / "named.tar"
    source = f"docker-archive:{busybox_docker_archive}"
    command = ["skopeo", "copy", "--quiet", source, f"docker-archive:{archive}:{name}"]
    subprocess.run(command, check=True)
    agent.load(archive)
    pushed = typed("push", name)
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.startswith("1: digest: sha256:")
    assert "The push refers to repository" in pushed.stderr
    assert typed("rmi", name).returncode == 0
    pulled = typed("pull", "-q", name)
    assert pulled.returncode == 0, pulled.stderr
    assert typed("logout", guarded.address).stdout.startswith("Removing login credentials for")
    assert typed("pull", name).returncode == 1
    assert "secret-7" not in agent.log.read_text()
    assert "secret-7" not in json.dumps(agent.client.request("GET", "/v1/jobs"))
    assert "secret-7" not in json.dumps(list(agent.client.lines("GET", "/v1/events")))
    typed("rmi", name)


def test_search(typed, registry):
    found = typed("search", f"{registry.address}/alp")
    assert found.stdout.split("\n")[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert f"{registry.address}/library/alpine" in found.stdout
    assert typed("search", "--filter", "stars=1", f"{registry.address}/alp").stdout.count("\n") == 1
    assert "it is 1 to 100" in typed("search", "--limit", "0", "x").stderr


def test_registries(typed):
    shown = typed("registries", "--format", "json").stdout
    rows = [json.loads(line) for line in shown.split("\n")[:-1]]
    assert [row["prefix"] for row in rows] == ["docker.io"]
    assert "PREFIX" in typed("registries").stdout


def test_all_tags(typed, registry):
    pulled = typed("pull", "-a", "-q", f"{registry.address}/library/alpine")
    assert pulled.stdout == f"{registry.address}/library/alpine\n", pulled.stderr
    typed("rmi", "-f", *(f"{registry.address}/library/alpine:{tag}" for tag in ("latest", "3.23")))
