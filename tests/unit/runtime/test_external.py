import json
import os

import pytest

from cgagent.errors import CommandNotFoundError, InternalError, NotExecutableError
from cgagent.runtime import spec
from cgagent.runtime.external import translate
from cgagent.runtime.external.program import Program

USERS = "root:x:0:0::/root:/bin/sh\nsomebody:x:5:6::/home/some:/bin/sh\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(USERS)
    (tmp_path / "etc" / "group").symlink_to("/etc/passwd")  # the root's own, not the host's
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def configured(**process):
    cgroups = (
        spec.CgroupMount(name="memory", version=1, controllers="memory"),
        spec.CgroupMount(name="unified", version=2),
    )
    return spec.build(
        spec.Plan(
            process=spec.Process(args=("sh",), **process),
            cgroup_path="/a/b",
            kernel_files=spec.KernelFiles(cgroups=cgroups),
        )
    )


def test_names_become_numbers(root):
    found = translate.container(configured(user="somebody"), root, "/where")
    process = found["process"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [6]}
    assert process["env"] == ["HOME=/home/some"]
    assert process["capabilities"]["effective"] == []
    assert process["capabilities"]["bounding"]
    assert found["root"]["path"] == "/where"
    assert found["ociVersion"] == "1.0.2"
    assert translate.container(configured(), root, "/")["process"]["capabilities"]["effective"]


def test_devices_are_denied_when_nothing_is_said_of_them(root):
    found = translate.container(configured(), root, "/")
    assert found["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}


def runtime(tmp_path, script):
    program = tmp_path / "runtime"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return Program("mine", str(program), ("--flag",), str(tmp_path / "states"))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("exec: executable file not found in $PATH", CommandNotFoundError),
        ("exec: permission denied", NotExecutableError),
        ("cannot mount it", InternalError),
    ],
)
def test_what_it_logs_is_the_error(tmp_path, said, error):
    line = json.dumps({"level": "error", "msg": said})
    mine = runtime(tmp_path, f"echo noise >$5; echo '{line}' >>$5\nexit 1")
    with pytest.raises(error, match="runtime mine: create: ") as raised:
        mine.call(str(tmp_path / "log"), "create", "id")
    assert raised.value.message.endswith(said)


def test_what_it_writes_is_the_error_where_it_logs_none(tmp_path):
    with pytest.raises(InternalError, match=r"runtime mine: start: broken$"):
        runtime(tmp_path, "echo first >&2; echo broken >&2; exit 1").call("/nowhere", "start", "id")
    with pytest.raises(InternalError, match="exit status 4"):
        runtime(tmp_path, "exit 4").call("/nowhere", "start", "id")
    with pytest.raises(InternalError, match="no such file"):
        Program("gone", "/nowhere", (), "/").call("/nowhere", "start", "id")


def test_nothing_is_asked_about_a_container_it_does_not_know(tmp_path):
    mine = runtime(tmp_path, "exit 4")
    mine.delete("id")
    (tmp_path / "states" / "id").mkdir(parents=True)
    with pytest.raises(InternalError, match="delete"):
        mine.delete("id")
