import os
from dataclasses import fields
from pathlib import Path

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.containers.config import ContainerConfig
from cgagent.engine.containers.container import Record
from cgagent.engine.lifecycle.pool import same_root
from cgagent.engine.options import resolve
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.networking import EndpointSpec, PortSpec
from cgagent.engine.options.plan import plan
from cgagent.engine.options.resolve import READ_LATE, Choices
from cgagent.engine.options.restart import RestartPolicy
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.images.image import HealthCheck, ImageConfig
from cgagent.runtime import spec
from cgagent.runtime.spec import Process

ID = "abcdef012345" + "0" * 52
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def no_other(reference):
    raise NotFoundError(f"container {reference!r} does not exist")


def options(image=None, **asked):
    image = image or ImageConfig(cmd=("run",))
    config = resolve.canonical(ContainerConfig(image="i", **asked))
    return resolve.resolve(config, Choices(), image, ID, no_other)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "asked_entrypoint", "command", "args"),
    [
        ((), ("sh",), None, (), ("sh",)),
        ((), ("sh",), None, ("ls", "-l"), ("ls", "-l")),
        (("entry",), ("arg",), None, (), ("entry", "arg")),
        (("entry",), ("arg",), None, ("mine",), ("entry", "mine")),
        (("entry",), ("arg",), ("other",), (), ("other",)),
        (("entry",), ("arg",), ("other",), ("mine",), ("other", "mine")),
        (("entry",), ("arg",), (), ("mine",), ("mine",)),
    ],
)
def test_entrypoint_and_command(entrypoint, cmd, asked_entrypoint, command, args):
    image = ImageConfig(entrypoint=entrypoint, cmd=cmd)
    assert options(image, entrypoint=asked_entrypoint, command=command).args == args


@pytest.mark.parametrize("command", [(), ("",)])
def test_no_command(command):
    with pytest.raises(InvalidInputError, match="image i has no command of its own"):
        options(ImageConfig(), command=command)


def test_the_environment_is_the_images_then_ours():
    image = ImageConfig(cmd=("x",), env=("A=image", "B=image", "PATH=/image"))
    assert options(image, env=("B=ours", "C=a=b", "D=")).env == (
        "PATH=/image",
        "HOSTNAME=abcdef012345",
        "A=image",
        "B=ours",
        "C=a=b",
        "D=",
    )
    assert options().env == (PATH, "HOSTNAME=abcdef012345")


def test_a_name_alone_takes_the_images_variable_away():
    image = ImageConfig(cmd=("x",), env=("A=image", "B=image"))
    asked = ("A", "C")
    assert options(image, env=asked).env == (PATH, "HOSTNAME=abcdef012345", "B=image")


@pytest.mark.parametrize("item", ["=x", "", "A=\0"])
def test_variables_that_are_none(item):
    with pytest.raises(InvalidInputError, match="is not NAME=VALUE"):
        options(env=(item,))


def test_what_is_asked_goes_before_the_images():
    image = ImageConfig(cmd=("x",), user="app", working_dir="/srv/", stop_signal="SIGINT")
    made = options(image)
    assert (made.user, made.working_dir, made.stop_signal) == ("app", "/srv", "SIGINT")
    made = options(image, user="", working_dir="/a/../b", stop_signal="9")
    assert (made.user, made.working_dir, made.stop_signal) == ("", "/b", "9")
    assert options().working_dir == "/"
    assert options().stop_signal == "SIGTERM"


def test_labels_are_merged():
    image = ImageConfig(cmd=("x",), labels={"a": "image", "b": "image"})
    assert options(image, labels={"b": "ours"}).labels == {"a": "image", "b": "ours"}


@pytest.mark.parametrize("name", ["h" * 65, "a b", "a\n", "a\0"])
def test_host_names_that_are_none(name):
    with pytest.raises(InvalidInputError, match=r"hostname .* is not valid"):
        options(hostname=name)


def test_the_hosts_names_are_not_changed():
    with pytest.raises(InvalidInputError, match="conflicting options: hostname"):
        options(uts="host", hostname="box")
    with pytest.raises(InvalidInputError, match="conflicting options: hostname"):
        options(uts="host", domainname="example.org")
    assert options(uts="host").hostname == os.uname().nodename


@pytest.mark.parametrize(
    "wrong",
    [
        {"domainname": "a b"},
        {"domainname": "d" * 65},
        {"shm_size_bytes": 100},
        {"shm_size_bytes": 1 << 20, "ipc": "host"},
        {"stop_timeout_s": -2},
        {"stop_timeout_s": float("nan")},
    ],
)
def test_values_that_are_none(wrong):
    with pytest.raises(InvalidInputError):
        options(**wrong)


def test_an_images_volumes_get_names():
    image = ImageConfig(cmd=("x",), volumes=("/data", "/cache"))
    one, two = options(image).mounts
    assert (one.type, one.destination, one.anonymous) == ("volume", "/data", True)
    assert len({one.source, two.source}) == 2
    assert len(one.source) == 64


@pytest.mark.parametrize("wrong", [{"command": ("a\0",)}, {"user": "\0"}, {"working_dir": "/\0"}])
def test_nul_bytes(wrong):
    with pytest.raises(InvalidInputError, match="NUL"):
        options(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"args": ()},
        {"args": ("",)},
        {"args": ("a\0",)},
        {"args": ("a",), "cwd": "relative"},
        {"args": ("a",), "env": ("X",)},
        {"args": ("a",), "user": "\0"},
    ],
)
def test_commands_to_be_run_inside_that_are_none(wrong):
    with pytest.raises(InvalidInputError):
        resolve.check_process(Process(**wrong))
    resolve.check_process(Process(args=("sh",), env=("A=1",), cwd="/", user="me"))


LATE = {
    "image": "another name of it",
    "command": ("other",),
    "entrypoint": ("other",),
    "env": ("A=b",),
    "working_dir": "/other",
    "user": "other",
    "labels": {"a": "b"},
    "stdin": True,
    "stdin_once": True,
    "stop_signal": "SIGINT",
    "stop_timeout_s": 3.0,
    "hibernate_after_s": 60.0,
    "health": HealthCheck(test=("CMD", "true")),
    "restart": RestartPolicy("always"),
    "log": LogConfig("none"),
    "reclaim": "auto",
    "boost": "cpus=1,for=1s",
    "budget": "cpu=1h/1d",
    "auto_size": "memory=64m..128m",
    "networks": (EndpointSpec(network="blue"),),
    "ports": (PortSpec(container_port=80),),
    "publish_all": True,
    "exposed_ports": ("80",),
}
"""Another container of the same root may have these."""


def reuse_key(limits=None, **asked):
    config = ContainerConfig(**{"image": "i", **asked})
    return resolve.reuse_key(config, Choices(), "id", limits or Limits())


def config_of(**asked):
    config = ContainerConfig(**{"image": "i", **asked})
    made = resolve.resolve(config, Choices(), ImageConfig(cmd=("run",)), ID, no_other)
    record = Record(
        id=ID,
        name="",
        image_id="i",
        created_ns=0,
        cgroup_path="/c",
        rootfs=None,
        config=config,
        resolved=made,
        limits=Limits(),
    )
    return spec.build(plan(record, bundle=Path("/b"), cgroups=(), pid_of=int, volume_path=str))


def test_what_is_read_late_is_known_one_by_one():
    assert LATE.keys() == READ_LATE
    assert {f.name for f in fields(ContainerConfig)} >= READ_LATE


@pytest.mark.parametrize("name", LATE)
def test_what_is_read_late_makes_no_other_root(name):
    request = {"image": "i", name: LATE[name]}
    assert reuse_key(**request) == reuse_key()
    assert same_root(config_of(), config_of(**request))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("hostname", "other"), ("read_only", True), ("tty", True), ("shm_size_bytes", 1 << 20)),
        ("networks", (EndpointSpec(network="host"),)),
    ],
)
def test_what_is_of_the_root_makes_another(name, value):
    assert reuse_key(**{name: value}) != reuse_key()
    assert not same_root(config_of(), config_of(**{name: value}))


def test_other_limits_are_made_ahead_of_others():
    assert reuse_key(Limits(pids_max=5)) != reuse_key()
