"""Everything the programs print goes out whole, or it is told that it did not."""

import fcntl
import os
import pty
import subprocess
import sys
import threading

import pytest

from cgagent import standard

PROGRAM = "from cgagent.cli.main import console; console()"
OCI = "import sys; from cgagent.oci.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def full_pipe():
    """A non-blocking pipe with a page of room, both ends."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    yield reader, writer
    os.close(reader)


def read_all(reader):
    found = b""
    while data := os.read(reader, 1000):
        found += data
    return found


def test_a_write_waits_for_room(full_pipe):
    reader, writer = full_pipe
    data = os.urandom(100_000)

    def write():
        standard.write(writer, data)
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    assert read_all(reader) == data
    thread.join()


def test_a_read_waits_for_something(full_pipe):
    reader, writer = full_pipe
    os.set_blocking(reader, False)
    threading.Timer(0.05, os.write, (writer, b"late")).start()
    assert standard.read(reader, 10) == b"late"
    os.close(writer)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (PROGRAM, ("run", "--help")),
        (PROGRAM, ("--help",)),
        (OCI, ("spec", "--help")),
        (OCI, ("features",)),
    ],
)
def test_a_pipe_that_does_not_block_gets_everything(full_pipe, program, words):
    reader, writer = full_pipe
    os.write(writer, bytes(4000))  # next to no room
    command = [sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdout=writer) as run:
        os.close(writer)
        found = read_all(reader)
    whole = subprocess.run(command, check=True, capture_output=True).stdout
    assert (run.returncode, found[4000:]) == (0, whole)


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        (PROGRAM, ("--help",), 1),
        (PROGRAM, ("--version",), 1),
        (PROGRAM, ("run", "--help"), 125),
        (PROGRAM, ("--host", "unix:///no/such.sock", "version"), 1),
        (OCI, ("features",), 1),
        (OCI, ("--version",), 1),
    ],
)
def test_a_full_disk_is_told(program, words, code):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert "write to standard output: no space left on device" in done.stderr


def test_text_that_is_not_unicode_comes_out():
    script = (
        "from cgagent import standard; standard.wait_for_room(); print('a\\udcffb\\ud800\\u20ac')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        env={"PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.stdout == b"a\xffb\\ud800\xe2\x82\xac\n"


HOSTILE = "a\x1b[31mb\u202e\udcff\r"
SHOWN = b"a\\x1b[31mb\\u202e\\xff\\x0d"


def printed_on_a_terminal(script):
    master, slave = pty.openpty()
    done = subprocess.run([sys.executable, "-c", script], check=False, stdout=slave, stderr=slave)
    os.close(slave)
    found = os.read(master, 10_000)
    os.close(master)
    return done.returncode, found


def test_what_is_printed_on_a_terminal_moves_no_cursor():
    script = (
        "from cgagent import standard; standard.wait_for_room(); import sys;"
        f"print({HOSTILE!r} + chr(10) + chr(9) + 'x'); standard.tell({HOSTILE!r} + chr(10));"
        "standard.write(1, b'\\x1b[2J')"  # a program's own output
    )
    code, found = printed_on_a_terminal(script)
    assert code == 0
    assert found == SHOWN + b"\r\n\tx\r\ncgagent: " + SHOWN + b"\\x0a\r\n\x1b[2J"


@pytest.mark.parametrize("program", [PROGRAM, OCI])
def test_an_error_is_one_line_that_moves_no_cursor(program):
    words = ("cp", "a\x1b[31mb", "/x\x1b[2J\ny") if program is PROGRAM else ("state", "a\x1b[31m")
    done = subprocess.run([sys.executable, "-c", program, *words], check=False, capture_output=True)
    assert done.returncode != 0
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.rstrip(b"\n").decode().isprintable()
