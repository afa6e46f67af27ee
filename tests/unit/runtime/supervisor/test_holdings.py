"""What the keeper has is what the supervisor has, after any changes and whenever it dies."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.runtime.messages.agent import Start
from cgagent.runtime.messages.held import HeldClient, HeldTask
from cgagent.runtime.messages.jobs import ExecJob, Streams
from cgagent.runtime.protocol import State
from cgagent.runtime.supervisor.holdings import Holding
from tests.world.keeper import Kept

TASK = HeldTask(key="a", state=State.CREATED, pid=1)
NAMES = st.sampled_from(["a", "b"])
LABELS = st.sampled_from(["out", "err", "stdin"])
CHANGES = st.one_of(
    st.tuples(
        st.just("put"), NAMES, st.dictionaries(LABELS, st.none()), st.text(max_size=3) | st.none()
    ),
    st.tuples(st.just("close"), NAMES, LABELS),
    st.tuples(st.just("drop"), NAMES),
)


def made():
    return os.memfd_create("held")


def what(entries):
    """Values, and which files are held: not by which numbers."""
    return {
        name: (e.value, {label: os.fstat(fd).st_ino for label, fd in e.fds.items()})
        for name, e in entries.items()
    }


def change(kept, kind, name, *arguments):
    held = kept.task(name)
    if kind == "put":
        labels, directory = arguments
        held.put(TASK.replace(directory=directory), {label: made() for label in labels})
    elif kind == "close" and held.exists:
        held.close(*arguments)
    elif kind == "drop":
        held.drop()


@given(st.lists(CHANGES, max_size=12), st.integers(0, 12))
def test_keeper_successor_and_supervisor_agree(changes, death):
    before = len(os.listdir("/proc/self/fd"))
    kept = Kept()
    for number, one in enumerate(changes):
        if number == death:
            kept.succeed()
        change(kept, *one)
        kept.listen()
        assert what(kept.entries) == what(kept.holdings.entries)
    kept.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor is held that nobody has"


def test_what_was_told_before_the_death_is_done_after_it(kept):
    kept.task().put(TASK, {"out": made()})
    kept.task().update(state=State.EXITED, close=["out"])
    kept.succeed()
    held = kept.task()
    assert held.value == TASK.replace(state=State.EXITED)
    assert not held.fds


def test_only_what_changes_is_told(kept):
    job = ExecJob(process_file="f", seccomp=None, seccomp_flags=0, pid=1)
    held = kept.task()
    held.put(TASK.replace(start=Start(key="a", job=job, streams=Streams()), own=True))
    kept.listen()
    assert kept.entries["task/one"].value["start"]["job"]["process_file"] == "f"
    held.update(state=State.RUNNING, start=None)
    kept.listen()
    assert kept.entries["task/one"].value == {
        "key": "a",
        "state": "running",
        "pid": 1,
        "own": True,
    }
    assert kept.task().value == held.value


def test_one_that_is_not_there_has_nothing(kept):
    held = Holding(kept.holdings, "client/1", HeldClient)
    assert not held.exists
    assert not held.fds
    with pytest.raises(KeyError):
        held.value.key  # noqa: B018 - the access is what fails
