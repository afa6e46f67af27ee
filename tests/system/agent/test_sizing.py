"""Whether one more fits, and which limits would do, as the command line shows it."""

import json

import pytest

from cgagent.client import connect
from cgagent.errors import InvalidInputError
from tests.world.agent import eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

MIB = 1 << 20


def test_one_more_fits_or_not(agent, container):
    one = container("sleep", "1000", name="promised", limits={"memory_max_bytes": 64 * MIB})
    parent = agent.cgroup_parent
    eventually(lambda: "memory, by use: fits" in agent.cli("fits", "--memory", "16m").stdout)
    done = agent.cli("fits", "--memory", "900t", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["fits"] is False
    for odd in (f"memory_bytes={10**400}", "cpus=inf"):
        with pytest.raises(InvalidInputError):
            agent.client.request("GET", f"/v1/capacity?{odd}")
    assert agent.cli("fits", "--memory", "900t", "--by", "use").returncode == 1
    assert "by promise: does NOT fit" in agent.cli("fits", "--cpus", "90").stdout
    for args, said in (((), "give --memory, --cpus or both"), (("--by", "luck"), "neither")):
        wrong = agent.cli("fits", *args, *(("--cpus", "1") if args else ()))
        assert wrong.returncode != 0
        assert said in wrong.stderr
    table = agent.cli("capacity", "--format", "{{.Group}} {{.Resource}} {{.Promised}}").stdout
    assert f"{parent} memory " in table
    with connect(f"unix://{agent.socket}") as client:
        found = client.capacity(memory_bytes=16 * MIB)
    own = next(scope for scope in found.scopes if scope["path"] == parent)
    assert own["rooms"][0]["promised"] >= 64 * MIB
    assert found.fits in {True, False}
    assert one


def test_limits_are_advised_and_can_be_pasted(agent, container):
    one = container("sleep", "1000", name="sized", limits={"memory_max_bytes": 512 * MIB})
    eventually(lambda: "$ cgagent update --memory " in agent.cli("advise", "sized").stdout)
    line = agent.cli("advise", "--format", "{{.Resource}}|{{.Asked}}|{{.Command}}", "sized").stdout
    resource, asked, command = line.split("\n")[0].split("|")
    assert (resource, asked) == ("memory", "512MiB")
    assert agent.cli(*command.split()[1:]).returncode == 0
    held = agent.detail(one)["limits_held"]
    assert held["memory_max_bytes"] == 512 * MIB  # in the first hour nothing is lowered
    assert held["pids_max"] == 16
    with connect(f"unix://{agent.socket}") as client:
        (found,) = client.containers.advise("sized")
        assert len(client.containers.advise()) >= 1
    assert (found.container, found.command[:15]) == ("sized", "cgagent update ")
    assert "does not exist" in agent.cli("advise", "nobody").stderr
