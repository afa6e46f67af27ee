import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.runtime.supervisor.detach import Watcher, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-a,a,ctrl-@", b"\x01a\x00"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
    ],
)
def test_keys(text, keys):
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,,b", "é", "shift-a", "ctrl-A"])
def test_keys_that_are_not_known(text):
    with pytest.raises(InvalidInputError, match="detach keys"):
        parse_keys(text)


def test_the_sequence_ends_the_session_and_is_not_input():
    watcher = Watcher(b"\x10\x11")
    assert watcher.pass_on(b"before\x10\x11after") == b"before"
    assert watcher.found


def test_half_of_it_becomes_input_when_something_else_follows():
    watcher = Watcher(b"\x10\x11")
    assert watcher.pass_on(b"a\x10") == b"a"
    assert watcher.pass_on(b"b") == b"\x10b"
    assert watcher.pass_on(b"\x10") == b""
    assert watcher.pass_on(b"\x10") == b"\x10"
    assert not watcher.found
    assert watcher.pass_on(b"\x11") == b""
    assert watcher.found


@given(st.lists(st.text("ab", max_size=5)), st.text("ab", min_size=1, max_size=4))
def test_however_the_input_is_cut_the_first_occurrence_counts(pieces, keys):
    watcher = Watcher(keys.encode())
    passed = b"".join(watcher.pass_on(p.encode()) for p in _until_found(watcher, pieces))
    before, found, _ = "".join(pieces).partition(keys)
    assert watcher.found == bool(found)
    if found:
        assert passed == before.encode()
    else:
        assert before.encode().startswith(passed)
        assert keys.startswith(before[len(passed) :])


def _until_found(watcher, pieces):
    for piece in pieces:
        if watcher.found:
            return
        yield piece
