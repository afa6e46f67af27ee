import os

import pytest

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.oci import store


def state(pid, start):
    return store.State(
        id="box",
        pid=pid,
        pid_start=start,
        bundle="/b",
        rootfs="/b/rootfs",
        created="2026-01-01T00:00:00Z",
        cgroup_path="/x",
        cgroup_made=("/sys/x",),
        annotations={},
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "a\n"])
def test_ids_that_are_none(tmp_path, name):
    with pytest.raises(InvalidInputError):
        store.Entry(str(tmp_path), name)


def test_saved_and_read_back(tmp_path):
    entry = store.Entry(str(tmp_path / "root"), "box_1+2.3-4")
    entry.make()
    with pytest.raises(ConflictError, match="exists"):
        entry.make()
    assert not list(store.entries(str(tmp_path / "root")))  # not there yet
    entry.save(state(5, "7"))
    entry.save_config({"a": 1})
    assert (entry.state(), entry.config()) == (state(5, "7"), {"a": 1})
    assert [e.id for e in store.entries(str(tmp_path / "root"))] == [entry.id]
    assert store.cgroups_made(str(tmp_path / "root")) == {"/sys/x"}
    entry.remove()
    assert not (tmp_path / "root").exists()  # it was the last one
    with pytest.raises(NotFoundError), entry.locked():
        pass


def test_a_process_of_the_same_number_is_another_one():
    start = store.process_start(os.getpid())
    assert store.is_alive(state(os.getpid(), start))
    later = state(os.getpid(), str(int(start) + 1))
    assert not store.is_alive(later)
    with pytest.raises(ConflictError, match="is not running"):
        store.send(later, 0)


def test_a_state_as_the_specification_has_it():
    view = store.view(state(5, "7"), "running")
    assert {"ociVersion", "id", "status", "pid", "bundle", "annotations"} <= set(view)
    assert view["pid"] == 5
    assert store.view(state(5, "7"), "stopped")["pid"] == 0
