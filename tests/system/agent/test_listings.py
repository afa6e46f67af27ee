"""Listings in forms of one's own: ``images``, ``stats``, ``version``, ``info``."""

import json
import re

import pytest

from cgagent import __version__
from tests.world.agent import eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def test_images(agent):
    def images(*flags):
        return agent.cli("images", *flags).stdout

    assert re.search(r"^alpine +latest +[0-9a-f]{12} +.* ago +\d.*iB$", images(), re.MULTILINE)
    assert images("--digests").split("\n")[0].split() == (
        ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    )
    form = ("--format", "{{.Repository}}:{{.Tag}}")
    assert images(*form, "-f", "reference=alp*:latest") == "alpine:latest\n"
    assert images(*form, "busybox").startswith("busybox:")
    assert json.loads(images("--format", "json", "alpine:latest"))["Digest"] == "<none>"
    assert re.fullmatch(r"[0-9a-f]{12}\n", images("-q", "alpine"))
    assert images("-q", "-f", "dangling=true") == ""


def test_stats(agent, container):
    one, stopped = container("sleep", "1000", name="one"), container("true", start=False)

    def stats(*flags):
        return agent.cli("stats", "--no-stream", *flags).stdout

    eventually(lambda: one[:12] in stats())
    assert stopped[:12] not in stats()
    assert f"{stopped} -- created" in stats(
        *("-a", "--no-trunc", "--format", "{{.ID}} {{.PIDs}} {{.State}}")
    )
    assert re.fullmatch(
        r"one 1 \d+B / \d+B\n", stats("--format", "{{.Name}} {{.PIDs}} {{.NetIO}}", "one")
    )
    assert stats("--format", r"table {{.Name}}\t{{.CPUPerc}}", "one").startswith("NAME   CPU %\n")
    assert stats("-a", "--format", "{{.CPUPerc}}", stopped) == "--\n"
    assert json.loads(stats("--format", "json", "one"))["Container"] == one[:12]
    assert "there is no field" in agent.cli("stats", "--no-stream", "--format", "{{.No}}").stderr


def test_version_and_info(agent):
    form = "{{.Client.Version}} {{.Server.Version}} {{.Server.Os}}"
    assert agent.cli("version", "--format", form).stdout == f"{__version__} {__version__} linux\n"
    assert json.loads(agent.cli("version", "-f", "json").stdout)["Server"]["Version"] == __version__
    shown = agent.cli("info", "-f", "{{.DockerRootDir}} {{.CgroupDriver}} {{.Agent.pid}}").stdout
    assert shown == f"{agent.data_root} cgroupfs {agent.pid}\n"
    assert json.loads(agent.cli("info", "-f", "json").stdout)["NCPU"] > 0


def test_the_version_without_an_agent(agent):
    nobody = ("--host", "unix:///no/such.sock", "version", "-f")
    assert agent.cli(*nobody, "{{.Client.Version}}").stdout == f"{__version__}\n"
    assert json.loads(agent.cli(*nobody, "json").stdout)["Server"] is None
    refused = agent.cli(*nobody, "{{.Server.Version}}")
    assert refused.returncode != 0
    assert "/no/such.sock" in refused.stderr
