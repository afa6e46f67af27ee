"""Logs whose rotated files are compressed: what is written is read, whatever comes between."""

import asyncio
import gzip
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.runtime.logs import files as logfiles
from cgagent.runtime.logs.json_file import LogFile
from cgagent.runtime.logs.reader import LogQuery, follow
from cgagent.runtime.protocol import STDOUT


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def writer(folder, max_files=4, max_bytes=200):
    path = str(folder / "log")
    return LogFile(path, max_bytes=max_bytes, max_files=max_files, compress=True)


def lines(log, numbers):
    for number in numbers:
        log.write(STDOUT, b"%d\n" % number)


def read(folder, **query):
    async def collect():
        found = follow(str(folder / "log"), LogQuery(**query), lambda: False)
        return [int(json.loads(e)["log"]) async for batch in found for e in batch]

    return asyncio.run(collect())


def test_what_is_rotated_away_is_compressed_as_gzip_reads_it(tmp_path):
    lines(writer(tmp_path), range(9))
    plain = {n: (tmp_path / n).read_bytes() for n in names(tmp_path)}
    logfiles.compress(str(tmp_path / "log"))
    assert names(tmp_path) == ["log", *(f"{n}.gz" for n in plain if n != "log")]
    for name, content in plain.items():
        if name != "log":
            assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == content
    assert read(tmp_path) == list(range(9))


@given(steps=st.lists(st.sampled_from(["write", "compress"]), max_size=12), tail=st.integers(1, 40))
def test_any_order_of_writing_and_compressing(tmp_path_factory, steps, tail):
    folder = tmp_path_factory.mktemp("log")
    log, count = writer(folder, max_files=5), 0
    for step in steps:
        if step == "write":
            lines(log, range(count, count := count + 4))
        else:
            logfiles.compress(str(folder / "log"))
    found = read(folder)
    assert found == list(range(count))[count - len(found) :]
    assert len(found) >= min(count, 8)
    assert read(folder, tail=tail) == found[-tail:]
    log.close()


def test_a_reader_goes_on_where_its_file_was_compressed(tmp_path):
    log = writer(tmp_path, max_files=20)
    lines(log, range(5))

    async def follow_while_it_is_rotated():
        found = []
        running = iter([True, True, False])
        path = str(tmp_path / "log")

        def still():
            lines(log, range(len(found), len(found) + 10))
            logfiles.compress(path)
            return next(running)

        async for batch in follow(path, LogQuery(follow=True), still):
            found += [int(json.loads(e)["log"]) for e in batch]
        return found

    found = asyncio.run(follow_while_it_is_rotated())
    assert found == list(range(35))


def test_a_rotation_does_not_wait_for_who_renames(tmp_path):
    log = writer(tmp_path)
    with logfiles.locked(str(tmp_path / "log"), wait=True):
        lines(log, range(9))
        assert "log.1" not in names(tmp_path)
    lines(log, range(9, 10))
    assert "log.1" in names(tmp_path)
    assert read(tmp_path) == list(range(10))


def test_a_crash_between_link_and_unlink_leaves_nothing_twice(tmp_path):
    lines(writer(tmp_path), range(5))
    os.link(tmp_path / "log.1", tmp_path / "kept")
    logfiles.compress(str(tmp_path / "log"))
    os.rename(tmp_path / "kept", tmp_path / "log.1")
    before = read(tmp_path)
    assert before == list(range(5))
    logfiles.compress(str(tmp_path / "log"))
    assert "log.1" not in names(tmp_path)
    assert read(tmp_path) == before


def test_a_damaged_file_ends_nothing(tmp_path):
    lines(writer(tmp_path), range(9))
    logfiles.compress(str(tmp_path / "log"))
    whole = (tmp_path / "log.2.gz").read_bytes()
    (tmp_path / "log.2.gz").write_bytes(whole[:-20])
    (tmp_path / "log.1.gz").write_bytes(b"rubbish")
    assert read(tmp_path)[-1] == 8
    assert read(tmp_path, tail=50)[-1] == 8


def test_one_that_is_stopped_leaves_all_as_it_was(tmp_path):
    lines(writer(tmp_path), range(9))
    before = names(tmp_path)
    logfiles.compress(str(tmp_path / "log"), lambda: True)
    assert names(tmp_path) == before


def test_a_log_that_is_gone(tmp_path):
    logfiles.compress(str(tmp_path / "none/log"))
    with pytest.raises(FileNotFoundError):
        logfiles.OpenFile(str(tmp_path / "log"))
