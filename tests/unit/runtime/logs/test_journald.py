"""The journal's protocol, against a socket of the test's own."""

from __future__ import annotations

import array
import os
import socket

import pytest

from cgagent.errors import UnavailableError
from cgagent.kernel.loop import Loop
from cgagent.kernel.pipes import Mirror
from cgagent.runtime.logs import journald
from cgagent.runtime.logs.journald import JournalLog
from cgagent.runtime.logs.json_file import MAX_LINE
from cgagent.runtime.messages.held import HeldTask
from cgagent.runtime.messages.jobs import JournaldLog, Streams
from cgagent.runtime.protocol import STDERR, STDOUT, State
from cgagent.runtime.supervisor.stdio import Stdio


def parse(data):
    fields = {}
    while data:
        name, _, data = data.partition(b"\n")
        size = int.from_bytes(data[:8], "little")
        fields[name.decode()] = data[8 : 8 + size]
        assert data[8 + size : 9 + size] == b"\n"
        data = data[9 + size :]
    return fields


@pytest.fixture
def far(tmp_path):
    """The journal's socket."""
    with listen(tmp_path / "socket") as sock:
        yield sock


def listen(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(5)
    return sock


def test_an_entry_a_line_with_priority_by_stream(far, tmp_path):
    log = JournalLog({"CONTAINER_NAME": "box"}, str(tmp_path / "socket"))
    assert log.append(STDOUT, b"one\ntw") == 6
    assert log.append(STDERR, b"\xff bad\n") == 6
    log.write(STDOUT, b"o\n" + b"x" * (MAX_LINE + 1))
    log.close()
    found = [parse(far.recv(1 << 20)) for _ in range(5)]
    shown = [(f["MESSAGE"], f["PRIORITY"], "CONTAINER_PARTIAL_MESSAGE" in f) for f in found]
    assert shown == [
        (b"one", b"6", False),
        (b"\xff bad", b"3", False),
        (b"two", b"6", False),
        (b"x" * MAX_LINE, b"6", True),
        (b"x", b"6", True),
    ]
    assert {f["CONTAINER_NAME"] for f in found} == {b"box"}
    assert log.dropped_bytes == 0


def test_a_busy_journal_takes_nothing_and_loses_nothing(far, tmp_path):
    log = JournalLog({}, str(tmp_path / "socket"))
    sent = b"".join(b"%d\n" % n for n in range(3000))
    rest, found = sent, b""
    while taken := log.append(STDOUT, rest):
        rest = rest[taken:]
    assert rest, "the socket's queue is longer than the test thought"
    while len(found) < len(sent):
        found += parse(far.recv(1 << 20))["MESSAGE"] + b"\n"
        rest = rest[log.append(STDOUT, rest) if rest else 0 :]
    assert found == sent
    log.close()


def test_a_journal_that_hangs_costs_the_last_output_only(far, tmp_path):
    log = JournalLog({}, str(tmp_path / "socket"))
    sent = b"line\n" * 1000
    log.write(STDOUT, sent)
    assert 0 < log.dropped_bytes < len(sent)
    log.close()


def test_a_journal_that_is_restarted_is_found_again(far, tmp_path):
    path = tmp_path / "socket"
    log = JournalLog({}, str(path))
    far.close()
    path.unlink()
    log.write(STDOUT, b"lost\n")
    assert log.dropped_bytes == 5
    with listen(path) as again:
        log.write(STDOUT, b"back\n")
        assert parse(again.recv(1000))["MESSAGE"] == b"back"
    log.close()


def test_what_is_too_large_for_a_datagram_comes_as_a_sealed_file(far, tmp_path):
    log = JournalLog({"LABEL": "x" * 2_000_000}, str(tmp_path / "socket"))
    log.write(STDOUT, b"large\n")
    data, ancillary, _, _ = far.recvmsg(100, socket.CMSG_SPACE(4))
    (fd,) = array.array("i", ancillary[0][2])
    with open(fd, "rb") as file:
        file.seek(0)
        fields = parse(file.read())
        with pytest.raises(PermissionError):
            os.write(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY), b"x")
    assert (data, fields["MESSAGE"], len(fields["LABEL"])) == (b"", b"large", 2_000_000)
    log.close()


def test_no_journal_is_an_error_of_the_start(tmp_path):
    with pytest.raises(UnavailableError, match="does not listen"):
        JournalLog({}, str(tmp_path / "socket"))


def test_a_successor_goes_on_while_the_journal_is_away(kept, tmp_path, monkeypatch):
    path = tmp_path / "socket"
    monkeypatch.setattr(journald, "JOURNAL_SOCKET", str(path))
    with listen(path):
        dead = Stdio(kept.task(), Loop(), Mirror(), lambda: None)
        task = HeldTask(key="one", state=State.CREATED, pid=1)
        dead.open(Streams(log=JournaldLog(fields={})), task)
        dead._log._sock.close()
    path.unlink()
    kept.succeed()
    loop = Loop()
    stdio = Stdio(kept.task(), loop, Mirror(), lambda: None)
    stdio.resume()
    stdio.run()
    _, out, err = stdio.child_ends()
    with listen(path) as far:
        os.write(out, b"still here\n")
        loop.run_once(5)
        assert parse(far.recv(1 << 20))["MESSAGE"] == b"still here"
    for fd in (out, err):
        os.close(fd)
    stdio.close()
