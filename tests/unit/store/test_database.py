from __future__ import annotations

import itertools
import sqlite3
import threading

import pytest

from cgagent.errors import InternalError, UnsupportedError
from cgagent.store import Database
from cgagent.store.database import DamagedDatabaseError
from cgagent.store.images import ImageRecords, LayerRecord

A, B = (f"sha256:{c * 64}" for c in "ab")
INSERT = "INSERT INTO containers SELECT x, x, NULL, 1, '{}' FROM (SELECT ? AS x)"


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path)
    yield opened
    opened.close()


def test_what_was_committed_is_there_after_reopening(tmp_path):
    first = Database(tmp_path)
    with first.transaction() as db:
        db.execute(INSERT, ("c",))
    first.close()
    second = Database(tmp_path)
    assert [row["name"] for row in second.query("SELECT * FROM containers")] == ["c"]
    second.close()


def test_a_failed_transaction_leaves_nothing(database):
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as db:
        db.executemany(INSERT, [("c",), ("c",)])
    assert database.query("SELECT * FROM containers") == []


def test_a_transaction_inside_another_is_part_of_it(database):
    def both():
        with database.transaction() as outer:
            with database.transaction() as inner:
                inner.execute(INSERT, ("c",))
            outer.execute(INSERT, ("c",))

    with pytest.raises(sqlite3.IntegrityError):
        both()
    assert database.query("SELECT * FROM containers") == []


def test_threads_take_turns(database):
    def count():
        for _ in range(50):
            with database.transaction() as db:
                (n,) = db.execute("SELECT count(*) FROM containers").fetchone()
                db.execute(INSERT, (str(n),))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.query("SELECT id FROM containers")) == 200


def test_a_later_schema_is_refused_and_left_alone(tmp_path):
    Database(tmp_path).close()
    raw = sqlite3.connect(tmp_path / "cgagent.db")
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(UnsupportedError, match="schema 99, written by a later cgagent"):
        Database(tmp_path)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "cgagent.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(InternalError, match=r"cgagent\.db: cannot open"):
        Database(tmp_path)


def test_nobody_else_may_read_it(database):
    assert database.path.stat().st_mode & 0o077 == 0


def test_a_name_moves_to_the_image_named_last(database):
    records = ImageRecords(database)
    records.add(A, b"{}", None, [])
    records.add(B, b"{}", None, [])
    records.set_name("docker.io/library/x:1", A, A)
    records.set_name("docker.io/library/x:1", B, A)
    assert records.id_of("docker.io/library/x:1") == B
    assert records.get(A).names == ()
    assert records.get(B).targets == {"docker.io/library/x:1": A}


def test_layers_keep_their_order_and_are_unused_when_their_images_are_gone(database):
    records = ImageRecords(database)
    for chain_id in (A, B):
        records.add_layer(chain_id, chain_id, 7, "boot")
    records.add(A, b"{}", None, [B, A])
    assert [layer.chain_id for layer in records.get(A).layers] == [B, A]
    assert records.delete_unused_layers() == []
    records.delete(A)
    assert [layer.chain_id for layer in records.delete_unused_layers()] == [B, A]
    assert records.layers() == []


def test_a_layer_that_is_unpacked_again_keeps_its_number(database):
    records = ImageRecords(database)
    first = records.add_layer(A, B, 7, "boot")
    records.settle_layers([first])
    again = records.add_layer(A, B, 8, "next boot")
    assert again == LayerRecord(first.number, A, B, 8, "next boot")
    assert records.layer(A) == again


def test_an_image_that_comes_again_keeps_a_manifest_that_it_had(database):
    records = ImageRecords(database)
    for manifest in (None, B, None):
        records.add(A, b"{}", manifest, [])
    assert records.get(A).manifest == B


def test_an_image_with_a_root_file_system_cannot_go(database):
    records = ImageRecords(database)
    records.add(A, b"{}", None, [])
    records.add_rootfs("c", A)
    with pytest.raises(sqlite3.IntegrityError):
        records.delete(A)
    assert records.ids_with_prefix("sha256:aa") == [A]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_while_open_is_written_again(tmp_path, replaced):
    first = Database(tmp_path)
    with first.transaction() as db:
        db.execute(INSERT, ("a",))
    first.path.unlink()
    if replaced:
        first.path.write_bytes(b"something else")
    with first.transaction() as db:
        db.execute(INSERT, ("b",))
    first.close()
    second = Database(tmp_path)
    assert [row["name"] for row in second.query("SELECT * FROM containers")] == ["a", "b"]
    second.close()
    kept = [path.read_bytes() for path in tmp_path.glob("*.replaced-*")]
    assert kept == ([b"something else"] if replaced else [])


@pytest.mark.parametrize("where", [0, 100, 5000])
def test_a_damaged_file_is_told_from_one_that_cannot_be_opened(tmp_path, where):
    first = Database(tmp_path)
    with first.transaction() as db:
        db.executemany(INSERT, [(str(n),) for n in range(1000)])
    first.close()
    with first.path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 5000)
    with pytest.raises(DamagedDatabaseError, match="system recover"):
        Database(tmp_path)


def test_a_blank_file_is_one_without_any_database(tmp_path):
    path = tmp_path / "cgagent.db"
    assert Database.is_blank(path)
    path.touch()
    assert Database.is_blank(path)
    Database(tmp_path).close()
    assert not Database.is_blank(path)


def test_the_log_is_moved_into_the_file_beside_commits(database, tmp_path):
    log = tmp_path / "cgagent.db-wal"
    numbers = itertools.count()

    def write():
        with database.transaction() as db:
            db.execute(INSERT, (f"c{next(numbers)}",))

    while database._checkpoints._thread is None:
        write()
    database._checkpoints.close()  # when it is done
    size_bytes = log.stat().st_size
    for _ in range(100):
        write()
    assert log.stat().st_size == size_bytes  # from its beginning
    assert len(database.query("SELECT * FROM containers")) == next(numbers)
