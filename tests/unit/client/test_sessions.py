"""A command's input and output over a connection that was taken over."""

import json
import os
import resource
import socket
import threading

import pytest

from cgagent.client.connection import Connection, Socket
from cgagent.client.sessions import Completed, Output, Session
from cgagent.errors import CommandNotFoundError, UnavailableError


def frame(stream, payload):
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def status(**fields):
    return frame(3, json.dumps(fields).encode())


@pytest.fixture
def many_descriptors():
    """More than select(2) has numbers for."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for fd in opened:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    connection = Connection(Socket(fileno=ours.detach()))
    with theirs, Session(connection) as session:
        yield session, theirs


def test_output_as_it_comes_and_an_exit_code(pair):
    session, theirs = pair
    data = frame(1, b"hi\n") + frame(2, b"oh\n") + status(exit_code=3)
    theirs.sendall(data)
    assert list(session) == [Output("stdout", b"hi\n"), Output("stderr", b"oh\n")]
    assert session.exit_code == 3
    assert list(session) == []


@pytest.mark.usefixtures("many_descriptors")
def test_a_program_may_have_many_descriptors(request):
    session, theirs = request.getfixturevalue("pair")
    assert theirs.fileno() > 1024
    theirs.sendall(status(exit_code=0))
    assert session.communicate(b"abc") == Completed(0, b"", b"")


def test_input_reaches_the_command(pair):
    session, theirs = pair
    session.write(b"abc")
    session.close_input()
    assert theirs.recv(9) + theirs.recv(9) == b"abc"
    theirs.sendall(status(exit_code=0))
    assert session.exit_code == 0


def test_much_goes_both_ways_at_once(pair):
    session, theirs = pair
    data = bytes(range(256)) * 20_000

    def echo():
        while piece := theirs.recv(65536):
            theirs.sendall(frame(1, piece))
        theirs.sendall(status(exit_code=0))

    thread = threading.Thread(target=echo)
    thread.start()
    assert session.communicate(data) == Completed(0, data, b"")
    thread.join()


def test_a_command_that_reads_nothing(pair):
    session, theirs = pair

    def end():
        theirs.recv(10)
        theirs.sendall(frame(2, b"no\n") + status(exit_code=1))

    thread = threading.Thread(target=end)
    thread.start()
    assert session.communicate(b"x" * 10_000_000) == Completed(1, b"", b"no\n")
    thread.join()


def test_what_could_not_be_started(pair):
    session, theirs = pair
    theirs.sendall(status(error={"kind": "command_not_found", "message": "command 'x': no"}))
    with pytest.raises(CommandNotFoundError, match="command 'x': no"):
        session.communicate()


def test_a_connection_that_ends_early(pair):
    session, theirs = pair
    theirs.sendall(frame(1, b"half")[:-1])
    theirs.close()
    with pytest.raises(UnavailableError, match="without its exit code"):
        list(session)
