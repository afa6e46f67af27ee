"""What the keeper has is what the supervisor has, after any changes and whenever it dies."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.world.keeper import Kept

NAMES = st.sampled_from(["task/a", "task/b", "client/1"])
LABELS = st.sampled_from(["out", "err", "stdin"])
CHANGES = st.one_of(
    st.tuples(
        st.just("put"), NAMES, st.dictionaries(LABELS, st.none()), st.integers(0, 3) | st.none()
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
    held = kept.holding(name)
    if kind == "put":
        labels, state = arguments
        held.put({label: made() for label in labels}, state=state)
    elif kind == "close":
        held.close(*arguments)
    else:
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
    kept.holding("task/a").put({"out": made()}, state="running")
    kept.holding("task/a").put(state="exited", close=["out"])
    kept.succeed()
    held = kept.holding("task/a")
    assert held.value == {"state": "exited"}
    assert not held.fds


def test_a_member_set_to_none_is_gone(kept):
    held = kept.holding("task/a")
    held.put(job={"big": 1}, state="starting")
    held.put(job=None, state="running")
    assert held.value == {"state": "running"}
    assert not kept.holding("task/b").exists
    with pytest.raises(KeyError):
        held.fds["out"]
