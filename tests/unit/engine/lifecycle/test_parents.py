"""Groups above containers' groups, in a recorded tree."""

import json
import os
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Host
from cgagent.engine.lifecycle.parents import Parents
from cgagent.errors import DeniedError, InvalidInputError

ID = "ab" * 32


@pytest.fixture
def host(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("35 24 0:30 / /cg rw - cgroup2 c rw\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "cg/there").mkdir(parents=True)
    (tmp_path / "cg/cgroup.controllers").write_text("")
    return Host.detect(str(tmp_path))


@pytest.fixture
def parents(host, tmp_path):
    return Parents(host, {}, "/own", tmp_path / "notes.json")


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("", ""),
        ("/own", ""),
        ("/own/", ""),
        ("/batch/nightly/", "/batch/nightly"),
        ("batch", "/own/batch"),
        ("/", "/"),
    ],
)
def test_what_may_be_asked_for(parents, asked, path):
    assert parents.checked(asked, []) == path


@pytest.mark.parametrize(
    "asked", ["/a/../b", "..", "/a//b", "./a", "/a\nb", "/a\0", f"/{'a' * 256}"]
)
def test_what_is_no_clean_path(parents, asked):
    with pytest.raises(InvalidInputError, match="it must be absolute"):
        parents.checked(asked, [])


@pytest.mark.parametrize("asked", [f"/own/{ID}", f"{ID}/deeper", f"/docker/{ID}/x"])
def test_no_container_in_another_ones_group(parents, asked):
    with pytest.raises(DeniedError, match="is a container's group or in one"):
        parents.checked(asked, [])


def test_no_container_in_the_agents_group(parents, host, monkeypatch):
    agents = f"{host.unified.mount}/service"
    monkeypatch.setattr(
        "cgagent.engine.lifecycle.parents.Membership.of",
        lambda *_: SimpleNamespace(directories=(agents,)),
    )
    for asked in ("/service", "/service/deeper"):
        with pytest.raises(DeniedError, match="is the group of the agent's process 7 or in it"):
            parents.checked(asked, [7])
    assert parents.checked("/services", [7]) == "/services"
    assert parents.checked("batch", [7]) == "/own/batch"


def test_an_agents_process_that_has_just_died_is_in_no_group(parents):
    assert parents.checked("/services", [2**22 + 1]) == "/services"


def test_what_was_made_goes_when_it_is_empty_and_nothing_else(parents, host, tmp_path):
    one, other = (host.group(f"/there/new/deep/{name * 32}") for name in ("ab", "cd"))
    parents.make(one)
    parents.make(other)
    one.remove()
    parents.prune()
    assert other.exists()
    other.remove()
    parents.prune()
    assert os.listdir(tmp_path / "cg/there") == []
    assert json.loads((tmp_path / "notes.json").read_text())["made"] == []


def test_the_next_agent_removes_what_was_made(parents, host, tmp_path):
    parents.make(host.group(f"/new/{ID}"), trial=True)
    next_one = Parents(host, {}, "/own", tmp_path / "notes.json")
    next_one.prune()
    assert host.group(f"/new/{ID}").exists()
    next_one.prune(trials=True)
    assert not host.group("/new").exists()


def test_notes_from_before_a_reboot_are_about_what_is_gone(parents, host, tmp_path):
    notes = {"boot": "another", "made": [f"{host.unified.mount}/there"]}
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    Parents(host, {}, "/own", tmp_path / "notes.json").prune()
    assert host.group("/there").exists()
