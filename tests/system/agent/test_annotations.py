"""``--annotation``: what an OCI runtime and its hooks read of a container."""

import json

import pytest

pytestmark = [pytest.mark.system, pytest.mark.native]


def test_annotations_are_in_the_configuration_and_shown(agent):
    flags = ("--annotation", "com.example.key=a=b", "--annotation", "bare", "--name", "noted")
    assert agent.cli("create", *flags, "alpine", "true").returncode == 0
    wanted = {"com.example.key": "a=b", "bare": ""}
    form = "{{json .HostConfig.Annotations}}"
    assert json.loads(agent.cli("inspect", "-f", form, "noted").stdout) == wanted
    agent.post("noted", "start")
    one = agent.detail("noted")["id"]
    config = json.loads((agent.data_root / "containers" / one / "config.json").read_text())
    assert config["annotations"] == wanted
    agent.remove("noted")
    assert "it has no name" in agent.cli("create", "--annotation", "=x", "alpine").stderr
