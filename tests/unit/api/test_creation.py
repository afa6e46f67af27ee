"""Each member of these is work for the agent and the kernel: there is a bound on their number."""

import pytest
from pydantic import ValidationError

from cgagent.api.native.creation import CreateBody
from cgagent.engine.containers.config import ContainerConfig

MEMBERS = {
    "mounts": {"type": "tmpfs", "destination": "/d"},
    "devices": {"path_on_host": "/dev/null", "path_in_container": "/n"},
    "networks": {"network": "blue"},
    "ports": {"container_port": 80},
    "ulimits": {"name": "core", "soft": 0, "hard": 0},
}
WORDS = {"command", "entrypoint", "env", "labels"}


def collections():
    for name, default in vars(CreateBody(image="i")).items():
        if isinstance(default, tuple | dict) and name not in WORDS:
            yield pytest.param(name, type(default), id=name)


@pytest.mark.parametrize(("name", "kind"), list(collections()))
def test_what_is_work_is_bounded(name, kind):
    pairs = {str(n): "" for n in range(1001)}
    many = pairs if kind is dict else [MEMBERS.get(name, "x")] * 1001
    with pytest.raises(ValidationError, match="at most 1000 items"):
        CreateBody(image="i", **{name: many})


@pytest.mark.parametrize("name", sorted(WORDS - {"labels"}))
def test_words_are_not(name):
    assert CreateBody(image="i", **{name: ["x"] * 5000})


@pytest.mark.parametrize(
    "wrong",
    [
        {"nope": 1},
        {"mounts": [{"type": "volume", "destination": "/d", "anonymous": True}]},
        {"health": {"tests": []}},
        {"restart": {"policy": "always"}},
        {"log": {"opts": {}}},
        {"devices": [{"path_on_host": "/dev/null", "path_in_container": "/n", "mode": "r"}]},
        {"limits": {"memory": 1}},
    ],
)
def test_a_field_that_is_not_known_is_refused(wrong):
    with pytest.raises(ValidationError, match=r"Unexpected keyword|Extra inputs"):
        CreateBody(image="i", **wrong)


def test_what_is_kept_is_the_configuration_alone():
    body = CreateBody(image="i", name="n", limits={"pids_max": 5}, tty=True)
    request = body.request()
    assert type(request.config) is ContainerConfig
    assert request.config == ContainerConfig(image="i", tty=True)
    assert (request.name, dict(request.limits)) == ("n", {"pids_max": 5})
