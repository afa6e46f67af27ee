"""The log of changes: bounded, whole lines, in the journal too, and not to be flooded."""

import json
import socket

import pytest

from cgagent.engine.access import audit
from cgagent.engine.access.audit import Audit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_each_for_root_alone(path):
    log = Audit(path, journal="/no/such")
    log.tell(what="a\nb")
    log.tell(what="c")
    assert [e["what"] for e in entries(path)] == ["a\nb", "c"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_bounded_and_the_oldest_goes(path):
    log = Audit(path, journal="/no/such", most_bytes=1000)
    for number in range(200):
        log.tell(number=number)
    files = sorted(p.name for p in path.parent.iterdir())
    assert set(files) <= {"audit.log", "audit.log.1", "audit.log.2", "audit.log.3"}
    assert all(p.stat().st_size < 1100 for p in path.parent.iterdir())
    newest = entries(path if path.exists() else path.with_name("audit.log.1"))
    assert newest[-1]["number"] == 199
    assert entries(path.with_name("audit.log.3"))[0]["number"] > 0


def test_the_journal_has_it_too(path, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(20)
        Audit(path, journal=str(tmp_path / "journal")).tell(what="this")
        message = journal.recv(65536)
    assert b"cgagent-audit\n" in message
    assert b'"what":"this"' in message


def test_a_stranger_pushes_nothing_out(path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(audit.time, "monotonic", lambda: now[0])
    log = Audit(path, journal="/no/such")
    for _ in range(1000):
        log.refused("stranger", error="no")
    log.refused("token known", error="no")
    assert len(entries(path)) == 61
    now[0] += 61
    log.refused("stranger", error="no")
    assert entries(path)[-1]["left_out_before"] == 940


def test_a_disk_that_is_full_holds_nothing_up(path, monkeypatch, caplog):
    log = Audit(path, journal="/no/such")
    log.tell(what="before")
    real = audit.os.write
    monkeypatch.setattr(audit.os, "write", lambda fd, data: real(fd, data[:5]))
    log.tell(what="half")
    monkeypatch.setattr(audit.os, "write", real)
    log.tell(what="after")
    assert [e["what"] for e in entries(path)] == ["before", "after"]
    assert "half" in caplog.text


def test_it_follows_no_link(path, tmp_path):
    target = tmp_path / "target"
    path.symlink_to(target)
    Audit(path, journal="/no/such").tell(what="x")
    assert not target.exists()
