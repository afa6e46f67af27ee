"""How large logs and volumes are, by files that change and go."""

import time

from cgagent.metrics import Sizes, sizes
from cgagent.metrics.sizes import log_bytes


def test_a_log_with_the_older_files_of_it(tmp_path):
    log = tmp_path / "x-json.log"
    assert log_bytes(str(log)) is None
    log.write_bytes(b"x" * 10)
    (tmp_path / "x-json.log.1").write_bytes(b"x" * 100)
    (tmp_path / "x-json.log.2").write_bytes(b"x" * 1000)
    (tmp_path / "x-json.log.4").write_bytes(b"x" * 10_000)
    assert log_bytes(str(log)) == 1110


def test_logs_and_volumes_are_looked_at_once_in_a_while_and_forgotten(tmp_path, monkeypatch):
    log, volume = tmp_path / "log", tmp_path / "volume"
    log.write_bytes(b"x" * 10)
    volume.mkdir()
    (volume / "a").write_bytes(b"x" * 100_000)
    logs, volumes = {"0123": str(log)}, {"data": str(volume), "lost": str(tmp_path / "lost")}
    made = Sizes(lambda: logs, lambda: volumes)
    assert made.log_bytes("0123") is None
    made.look_at_logs()
    made.walk_volumes()
    assert made.log_bytes("0123") == 10
    assert made.volume_bytes().keys() == {"data"}
    assert 100_000 <= made.volume_bytes()["data"] < 200_000
    log.write_bytes(b"")
    made.look_at_logs()
    assert made.log_bytes("0123") == 10
    volume_bytes = made.volume_bytes()
    (volume / "b").write_bytes(b"x" * 100_000)
    made.walk_volumes()
    assert made.volume_bytes() == volume_bytes
    later_s = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    made.look_at_logs()
    made.walk_volumes()
    assert made.volume_bytes()["data"] >= volume_bytes["data"] + 100_000
    assert made.log_bytes("0123") == 0
    logs.clear()
    volumes.clear()
    made.look_at_logs()
    made.walk_volumes()
    assert made.log_bytes("0123") is None
    assert made.volume_bytes() == {}


def test_a_volume_that_takes_too_long_has_no_size(tmp_path, monkeypatch):
    """Rather than one that is too small."""
    (tmp_path / "a").touch()
    monkeypatch.setattr(sizes, "_LONGEST_WALK_S", -1.0)
    made = Sizes(dict, lambda: {"data": str(tmp_path)})
    made.walk_volumes()
    assert made.volume_bytes() == {}
