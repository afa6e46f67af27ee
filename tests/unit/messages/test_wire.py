import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.messages import wire
from cgagent.messages.record import MessageError
from cgagent.runtime.messages.agent import ClientCutOff, TaskStarted

TEXT = st.text(max_size=50)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@given(TEXT, st.integers())
def test_messages_arrive_as_they_were_sent(key, pid):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    message = TaskStarted(key=key, pid=pid)
    with ours, theirs:
        wire.send(ours, message)
        assert wire.receive(theirs, ClientCutOff, TaskStarted) == (message, [])


def test_packets_keep_their_bounds(ends):
    for number in range(3):
        wire.send(ends[0], TaskStarted(key="x", pid=number))
    assert [wire.receive(ends[1], TaskStarted)[0].pid for _ in range(3)] == [0, 1, 2]


def test_descriptors_travel_along_and_are_close_on_exec(ends):
    read, write = os.pipe()
    wire.send(ends[0], ClientCutOff(key="x"), [write])
    os.close(write)
    message, (fd,) = wire.receive(ends[1], ClientCutOff)
    assert message == ClientCutOff(key="x")
    assert not os.get_inheritable(fd)
    os.write(fd, b"through")
    os.close(fd)
    assert os.read(read, 10) == b"through"
    assert os.read(read, 10) == b""
    os.close(read)


def test_the_end_is_none(ends):
    ends[0].close()
    assert wire.receive(ends[1], ClientCutOff) is None


@pytest.mark.parametrize(
    "packet", [b"[1]", b"{", b'{"type": "ClientCutOff"}', b"\xff", b"x" * 300_000]
)
def test_what_is_no_message_is_an_error_and_its_descriptors_are_closed(ends, packet):
    read, write = os.pipe()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    socket.send_fds(ends[0], [packet], [write])
    os.close(write)
    with pytest.raises(MessageError):
        wire.receive(ends[1], ClientCutOff, TaskStarted)
    assert os.read(read, 1) == b""  # nobody holds the other end any more
    os.close(read)
    wire.send(ends[0], ClientCutOff(key="x"))
    assert wire.receive(ends[1], ClientCutOff) == (ClientCutOff(key="x"), [])
