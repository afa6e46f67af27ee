import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.runtime.client import HIGH_WATER, Client, frame
from cgagent.runtime.protocol import STATUS, STDERR, STDIN, STDOUT

ALL = frozenset({STDIN, STDOUT, STDERR})


@pytest.fixture
def pair():
    """A client as the supervisor has it, and the far end."""
    made = []

    def connect(streams=ALL, *, raw=False, status=True, tail=b""):
        near, far = socket.socketpair()
        client = Client(near.detach(), streams=streams, raw=raw, status=status, tail=tail)
        far.settimeout(5)
        made.append((client, far))
        return client, far

    yield connect
    for client, far in made:
        far.close()
        client.close()


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
    client.finish({"exit_code": 3})
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
    assert list(frames(far.recv(100))) == [(STDERR, b"err")]


def test_raw_is_the_output_alone(pair):
    client, far = pair(raw=True)
    client.output(STDOUT, b"out")
    assert far.recv(100) == b"out"


def test_what_the_socket_does_not_take_waits(pair):
    client, far = pair(raw=True, status=False)
    data = b"x" * (4 * HIGH_WATER)
    client.output(STDOUT, data)
    assert client.pending > HIGH_WATER
    received = b""
    while client.pending:
        received += far.recv(1 << 20)
        client.flush()
    client.finish({})
    assert client.gone
    client.close()
    assert received + b"".join(iter(lambda: far.recv(1 << 20), b"")) == data


def test_input_begins_with_what_the_api_had_read(pair):
    client, far = pair(tail=b"first")
    far.sendall(b"second")
    assert client.receive() == b"first"
    assert client.receive() == b"second"
    assert client.receive() is None
    far.shutdown(socket.SHUT_WR)
    assert client.receive() == b""
    assert client.reads_done


def test_a_hang_up_is_noticed(pair):
    client, far = pair()
    far.close()
    client.output(STDOUT, b"x")
    assert client.gone
    client.output(STDOUT, b"more")
    assert client.pending <= len(frame(STDOUT, b"x"))
