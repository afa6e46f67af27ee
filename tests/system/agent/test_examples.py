"""The scripts in docs/examples do what they say, with real programs."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.world import images
from tests.world.agent import SLOWNESS
from tests.world.hosts import Host, cable

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture
def neighbour():
    """Another host, on the same segment as this one."""
    with closing(Host()) as other, closing(Host(is_here=True)) as here:
        near, _ = cable(here, ("203.0.113.1/24",), other, ("203.0.113.2/24",))
        yield other
        here.run("ip", "link", "delete", near)


def run_example(agent, name, *arguments):
    """What it prints."""
    programs = Path(sys.executable).parent
    environ = {"CGAGENT_SOCKET": str(agent.socket), "PATH": f"{programs}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["sh", str(EXAMPLES / name), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=60 * SLOWNESS,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.native
def test_a_web_server_and_its_client_under_limits(own_agent, neighbour):
    loaded = own_agent.cli("load", "-q", "-i", str(images.debian_oci_archive()))
    assert loaded.returncode == 0, loaded.stderr
    said = run_example(own_agent, "web-and-client.sh", loaded.stdout.split()[-1])
    (web,) = own_agent.containers()
    (place,) = own_agent.detail(web["id"])["networks"]
    address = place["addresses"][0]["address"]
    answers = [line for line in said.splitlines() if line.startswith("200 ")]
    assert answers == [f"200 {address}"] * 3 + ["200 127.0.0.1", "200 ::1"]
    assert "80/tcp -> 0.0.0.0:8080" in said
    heard = neighbour.run("curl", "-sS", "-m", str(10 * SLOWNESS), "http://203.0.113.1:8080/")
    assert "Welcome to nginx!" in heard
