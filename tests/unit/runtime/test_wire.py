import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.runtime import wire

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@given(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.none(), st.lists(TEXT))))
def test_messages_arrive_as_they_were_sent(message):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        wire.send(ours, message)
        assert wire.receive(theirs) == (message, [])


def test_packets_keep_their_bounds(ends):
    for number in range(3):
        wire.send(ends[0], {"n": number})
    assert [wire.receive(ends[1])[0]["n"] for _ in range(3)] == [0, 1, 2]


def test_descriptors_travel_along_and_are_close_on_exec(ends):
    read, write = os.pipe()
    wire.send(ends[0], {"op": "x"}, [write])
    os.close(write)
    message, (fd,) = wire.receive(ends[1])
    assert message == {"op": "x"}
    assert not os.get_inheritable(fd)
    os.write(fd, b"through")
    os.close(fd)
    assert os.read(read, 10) == b"through"
    assert os.read(read, 10) == b""
    os.close(read)


def test_the_end_is_none(ends):
    ends[0].close()
    assert wire.receive(ends[1]) is None


def test_what_is_no_object_ends_and_its_descriptors_are_closed(ends):
    read, write = os.pipe()
    socket.send_fds(ends[0], [b"[1]"], [write])
    os.close(write)
    assert wire.receive(ends[1]) is None
    assert os.read(read, 1) == b""  # nobody holds the other end any more
    os.close(read)
