import contextlib
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.kernel import pipes
from cgagent.runtime.messages.held import HeldClient
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STATUS, STDERR, STDIN, STDOUT
from cgagent.runtime.supervisor.attached import HIGH_WATER, Client, frame, hold
from tests.world.keeper import Kept

ALL = frozenset({STDIN, STDOUT, STDERR})


@pytest.fixture
def pair(kept):
    """A client as the supervisor has it, and the far end."""
    made = []

    def connect(streams=ALL, *, raw=False, status=True, tail=None, detach_keys=""):
        near, far = socket.socketpair()
        far.settimeout(5)
        made.append(far)
        held = kept.client(str(len(made)))
        memory = None
        if tail is not None:
            memory = os.memfd_create("tail")
            os.write(memory, tail)
        wanted = HeldClient(
            key="one",
            streams=tuple(sorted(streams)),
            raw=raw,
            status=status,
            detach_keys=detach_keys,
        )
        hold(held, near.detach(), wanted, memory)
        return Client(held), far

    yield connect
    for far in made:
        far.close()


@pytest.fixture
def pipe():
    """A pipe to give input to."""
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


def frames(data):
    while data:
        size = int.from_bytes(data[4:8], "big")
        assert data[1:4] == b"\0\0\0"
        yield data[0], data[8 : 8 + size]
        data = data[8 + size :]


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=100))))
def test_frames_can_be_taken_apart_again(pieces):
    assert list(frames(b"".join(frame(n, data) for n, data in pieces))) == pieces


def test_output_is_framed_and_the_status_comes_last(pair):
    client, far = pair()
    client.output(STDOUT, b"out")
    client.output(STDERR, b"err")
    client.finish(Status(exit_code=3))
    client.close()
    received = b"".join(iter(lambda: far.recv(100), b""))
    *output, (stream, status) = frames(received)
    assert output == [(STDOUT, b"out"), (STDERR, b"err")]
    assert stream == STATUS
    assert json.loads(status) == {"exit_code": 3}


def test_streams_not_wanted_are_not_sent(pair):
    client, far = pair(streams=frozenset({STDERR}), status=False)
    client.output(STDOUT, b"out")
    client.output(STDERR, b"err")
    client.flush()
    assert list(frames(far.recv(100))) == [(STDERR, b"err")]


def test_raw_is_the_output_alone(pair):
    client, far = pair(raw=True)
    client.output(STDOUT, b"out")
    client.flush()
    assert far.recv(100) == b"out"


def test_what_the_socket_does_not_take_waits(pair):
    client, far = pair(raw=True, status=False)
    data = b"x" * (4 * HIGH_WATER)
    client.output(STDOUT, data)
    client.flush()
    assert client.pending > HIGH_WATER
    received = b""
    while client.pending:
        received += far.recv(1 << 20)
        client.flush()
    client.finish(Status())
    assert client.gone
    client.close()
    assert received + b"".join(iter(lambda: far.recv(1 << 20), b"")) == data


def test_input_begins_with_what_the_api_had_read(pair, pipe):
    client, far = pair(tail=b"first")
    far.sendall(b"second")
    read, write = pipe
    assert client.give(write) == len(b"first")
    assert client.give(write) == len(b"second")
    assert client.give(write) is None
    assert os.read(read, 100) == b"firstsecond"
    far.shutdown(socket.SHUT_WR)
    assert client.give(write) == 0
    assert client.reads_done


def test_a_full_pipe_and_one_that_nobody_reads(pair, pipe):
    client, far = pair()
    far.setblocking(False)
    read, write = pipe
    given = 0
    with contextlib.suppress(BlockingIOError):
        while far.send(b"x" * 4096):
            given += client.give(write)
    assert not pipes.has_room(write)
    assert pipes.available(read) == given
    ends = os.pipe2(os.O_NONBLOCK)
    os.close(ends[0])
    with pytest.raises(BrokenPipeError):
        client.give(ends[1])
    os.close(ends[1])


def test_keys_that_detach_are_no_input(pair, pipe):
    client, far = pair(detach_keys="\x10\x11", tail=b"a\x10")
    read, write = pipe
    far.sendall(b"b\x10\x11c")
    while not client.reads_done:
        client.give(write)
    assert os.read(read, 100) == b"a\x10b"
    assert list(frames(far.recv(100))) == [(STATUS, b'{"detached":true}')]


def test_a_hang_up_is_noticed(pair):
    client, far = pair()
    far.close()
    client.output(STDOUT, b"x")
    client.flush()
    assert client.gone
    client.output(STDOUT, b"more")
    assert client.pending <= len(frame(STDOUT, b"x"))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.integers(0, 2000))
def test_a_successor_completes_what_was_queued(pieces, cut):
    """However much of the last piece was queued, and however much of all was sent already."""
    kept = Kept()
    near, far = socket.socketpair()
    held = kept.client()
    hold(held, near.detach(), HeldClient(key="one", streams=(STDOUT,)))
    client = Client(held)
    for piece in pieces[:-1]:
        client.output(STDOUT, piece)
    if cut % 2:
        client.flush()
    before = client.queued
    last = frame(STDOUT, pieces[-1])
    os.pwrite(held.fds["out"], last[: cut % (len(last) + 1)], before)
    kept.succeed()
    client = Client(kept.client())
    client.output(STDOUT, pieces[-1], before)
    client.finish(Status(exit_code=0))
    client.close()
    received = b"".join(iter(lambda: far.recv(10_000), b""))
    far.close()
    kept.close()
    assert [data for _, data in frames(received)] == [*pieces, b'{"exit_code":0}']
