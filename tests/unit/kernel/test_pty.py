import fcntl
import os
import struct
import termios

import pytest

from cgagent.kernel import pty


@pytest.fixture
def pair():
    directory = os.open("/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
    master = pty.open_master(directory)
    os.close(directory)
    slave = pty.open_slave(master)
    yield master, slave
    os.close(master)
    os.close(slave)


def test_bytes_go_both_ways_and_a_newline_is_a_terminals(pair):
    master, slave = pair
    os.write(slave, b"out\n")
    shown = b""
    while len(shown) < len(b"out\r\n"):  # the terminal may give it in pieces
        shown += os.read(master, 100)
    assert shown == b"out\r\n"
    os.write(master, b"in\n")
    assert os.read(slave, 100) == b"in\n"


def test_the_size_is_seen_at_the_other_end(pair):
    master, slave = pair
    pty.set_size(master, 33, 101)
    seen = struct.unpack("4H", fcntl.ioctl(slave, termios.TIOCGWINSZ, b"\0" * 8))
    assert seen[:2] == (33, 101)


def test_whoever_is_given_the_master_can_wait_for_output(pair):
    master, _ = pair
    assert os.get_blocking(master)


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.touch(), lambda p: p.symlink_to("/x")])
def test_something_else_of_that_name_is_refused(tmp_path, make):
    make(tmp_path / "ptmx")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"No such device|symbolic links"):
            pty.open_master(directory)
    finally:
        os.close(directory)


def test_no_multiplexer(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileNotFoundError):
            pty.open_master(directory)
    finally:
        os.close(directory)
