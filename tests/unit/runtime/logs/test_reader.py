import asyncio
import json
import os

from hypothesis import given
from hypothesis import strategies as st

from cgagent.runtime.logs.files import compress
from cgagent.runtime.logs.json_file import MAX_LINE, STREAM_NAMES, LogFile, timestamp
from cgagent.runtime.logs.reader import LogQuery, follow
from cgagent.runtime.protocol import STDERR, STDOUT

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode)
PIECES = st.lists(
    st.tuples(
        st.sampled_from([STDOUT, STDERR]),
        st.one_of(TEXT, st.just(b"\n"), st.binary(max_size=20), st.just(b"y" * (MAX_LINE + 5))),
    ),
    max_size=20,
)


def read(path, running=lambda: False, **query):
    async def collect():
        query_ = LogQuery(**query)
        batches = follow(str(path), query_, running)
        return [json.loads(line) async for batch in batches for line in batch]

    return asyncio.run(collect())


def write(path, pieces):
    log = LogFile(str(path))
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    return log


@given(pieces=PIECES)
def test_what_is_written_is_read(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("log") / "log"
    write(path, pieces)
    entries = read(path)
    for stream, name in STREAM_NAMES.items():
        sent = b"".join(data for number, data in pieces if number == stream)
        text = "".join(e["log"] for e in entries if e["stream"] == name)
        # bytes that are no UTF-8 are replaced; a long line may be cut inside a character
        assert text.count("\n") == sent.count(b"\n")
        try:
            assert text == sent.decode()
        except UnicodeDecodeError:
            assert "�" in text


def test_lines_are_entries_and_a_long_line_is_several(tmp_path):
    write(tmp_path / "log", [(STDOUT, b"one\ntw"), (STDOUT, b"o\n" + b"x" * (2 * MAX_LINE + 1))])
    logs = [e["log"] for e in read(tmp_path / "log")]
    assert logs == ["one\n", "two\n", "x" * MAX_LINE, "x" * MAX_LINE, "x"]


def test_the_streams_do_not_mix_within_a_line(tmp_path):
    write(tmp_path / "log", [(STDOUT, b"a"), (STDERR, b"b\n"), (STDOUT, b"c\n")])
    assert [(e["stream"], e["log"]) for e in read(tmp_path / "log")] == [
        ("stderr", "b\n"),
        ("stdout", "ac\n"),
    ]


def test_a_query_chooses(tmp_path):
    path = tmp_path / "log"
    write(path, [(STDOUT, b"1\n2\n3\n"), (STDERR, b"e\n")])
    assert [e["log"] for e in read(path, tail=2)] == ["3\n", "e\n"]
    assert read(path, tail=0) == []
    assert [e["log"] for e in read(path, streams=frozenset({"stdout"}), tail=1)] == ["3\n"]
    assert read(tmp_path / "none") == []


def test_a_line_that_a_full_disk_cut_is_passed_over(tmp_path):
    path = tmp_path / "log"
    write(path, [(STDOUT, b"1\n")])
    with path.open("ab") as f:
        f.write(b'{"log":"cut\n[5]\n')
    write(path, [(STDOUT, b"2\n")])
    assert [e["log"] for e in read(path)] == ["1\n", "2\n"]


def test_following_ends_when_the_container_has_ended_and_all_is_read(tmp_path):
    path = tmp_path / "log"
    write(path, [(STDOUT, b"1\n")])
    states = iter([True, True, False])

    def running():
        write(path, [(STDOUT, b"more\n")])
        return next(states)

    assert [e["log"] for e in read(path, running, follow=True)] == ["1\n"] + ["more\n"] * 3


def test_a_disk_that_is_full_costs_output_only():
    log = LogFile("/dev/full")
    log.write(STDOUT, b"lost\n")
    assert log.dropped_bytes > 0
    log.close()


def test_every_line_is_json_with_a_time(tmp_path):
    write(tmp_path / "log", [(STDOUT, b'quote " and \x00\x1b\n')])
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert set(json.loads(line)) == {"log", "stream", "time"}
    assert timestamp(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@given(pieces=PIECES, max_bytes=st.integers(1, 3000), max_files=st.integers(1, 4))
def test_rotation_changes_neither_entries_nor_their_order(
    tmp_path_factory, pieces, max_bytes, max_files
):
    folder = tmp_path_factory.mktemp("log")
    write(folder / "whole", pieces)
    rotated = LogFile(str(folder / "log"), max_bytes=max_bytes, max_files=max_files)
    for stream, data in pieces:
        rotated.write(stream, data)
    rotated.close()
    wanted = [(e["stream"], e["log"]) for e in read(folder / "whole")]
    found = [(e["stream"], e["log"]) for e in read(folder / "log")]
    assert found == wanted[len(wanted) - len(found) :]
    files = [folder / n for n in names(folder) if n.startswith("log")]
    assert {f.name for f in files} <= {"log", *(f"log.{n}" for n in range(1, max_files))}
    for file in files:
        *before, last = file.read_bytes().splitlines(keepends=True) or [b""]
        assert sum(map(len, before)) < max_bytes, "a full file grew on"
        assert not last or json.loads(last)


def test_the_tail_is_found_over_the_files_and_may_be_all_of_them(tmp_path):
    log = LogFile(str(tmp_path / "log"), max_bytes=200, max_files=4)
    for number in range(9):
        log.write(STDERR if number % 3 else STDOUT, b"%d\n" % number)
    log.close()
    assert names(tmp_path) == ["log", "log.1", "log.2"]
    everything = "012345678"
    assert "".join(e["log"][0] for e in read(tmp_path / "log")) == everything
    for count in range(11):
        found = "".join(e["log"][0] for e in read(tmp_path / "log", tail=count))
        assert found == everything[9 - min(count, 9) :]
    only = read(tmp_path / "log", tail=2, streams=frozenset({"stdout"}))
    assert [e["log"] for e in only] == ["3\n", "6\n"]
    compress(str(tmp_path / "log"))
    assert names(tmp_path) == ["log", "log.1.gz", "log.2.gz"]
    for count in (4, 10**30):
        found = "".join(e["log"][0] for e in read(tmp_path / "log", tail=count))
        assert found == everything[9 - min(count, 9) :]


def test_following_through_rotations_misses_nothing_and_repeats_nothing(tmp_path):
    path = tmp_path / "log"
    log = LogFile(str(path), max_bytes=500, max_files=5)
    log.write(STDOUT, b"0\n")
    numbers = iter(range(1, 1000))

    def running():  # between two looks: up to three rotations, the file being read among them
        for _ in range(12):
            log.write(STDOUT, b"%d\n" % next(numbers))
        return next(numbers) < 200

    found = [int(e["log"]) for e in read(path, running, follow=True)]
    skipped = set(range(found[-1] + 1)) - set(found)
    assert skipped == {n for n in range(13, found[-1] + 1) if n % 13 == 0}, "those never written"
    assert found == sorted(found)
    log.close()


def test_a_reader_whose_file_was_removed_goes_on_with_the_oldest(tmp_path):
    path = tmp_path / "log"
    log = LogFile(str(path), max_bytes=1, max_files=2)
    log.write(STDOUT, b"first\n")
    states = iter([True, False])

    def running():
        log.write(STDOUT, b"a\nb\nc\nd\n")
        return next(states)

    found = [e["log"][0] for e in read(path, running, follow=True)]
    assert found == ["f", "c", "d", "c", "d"]
    log.close()


def test_a_time_chooses(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        "".join(
            json.dumps({"log": f"{n}\n", "stream": "stdout", "time": timestamp(n * 10**9)}) + "\n"
            for n in range(1, 6)
        )
    )
    second = 10**9
    assert [e["log"][0] for e in read(path, since_ns=2 * second)] == ["2", "3", "4", "5"]
    chosen = read(path, since_ns=second, until_ns=4 * second, tail=2)
    assert [e["log"][0] for e in chosen] == ["3", "4"]
    assert read(path, lambda: True, follow=True, until_ns=second)[0]["log"] == "1\n"


@given(
    pieces=st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), TEXT | st.just(b"a\nb\nc\n"))),
    max_bytes=st.none() | st.integers(1, 400),
    killed_at=st.integers(0, 30),
)
def test_a_successor_that_knows_the_last_mark_loses_and_repeats_nothing(
    tmp_path_factory, pieces, max_bytes, killed_at
):
    """The writer is lost after any step; what it noted before the step is all that remains."""
    folder = tmp_path_factory.mktemp("log")
    limits = {"max_bytes": max_bytes, "max_files": 200}
    log = LogFile(str(folder / "log"), **limits)
    steps = 0
    for stream, data in pieces:
        taken = 0
        while taken < len(data):
            for step in ("rotate", "append"):
                if step == "rotate" and not log.is_full:
                    continue
                marks = {s: log.mark(s) for s in (STDOUT, STDERR)}
                done = log.rotate() if step == "rotate" else log.append(stream, data[taken:])
                if steps == killed_at:
                    log = LogFile(str(folder / "log"), **limits)
                    for each, mark in marks.items():
                        log.rewind(each, mark)
                else:
                    taken += done or 0
                steps += 1
    log.close()
    write(folder / "whole", pieces)
    wanted = [(e["stream"], e["log"]) for e in read(folder / "whole")]
    assert [(e["stream"], e["log"]) for e in read(folder / "log")] == wanted


def test_a_log_whose_directory_is_gone_costs_output_at_most(tmp_path):
    folder = tmp_path / "container"
    folder.mkdir()
    log = LogFile(str(folder / "log"), max_bytes=1, max_files=3)
    log.write(STDOUT, b"before\n")
    (folder / "log").unlink()
    folder.rmdir()
    descriptors = len(os.listdir("/proc/self/fd"))
    log.write(STDOUT, b"after\n" * 10)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert read(folder / "log") == []
    log.close()


def test_a_character_is_not_cut_in_two(tmp_path):
    for character in ("é", "€", "😀"):
        for before in range(4):
            text = "x" * (MAX_LINE - before) + character * 2 + "y"
            path = tmp_path / f"{character}{before}"
            write(path, [(STDOUT, f"{text}\n".encode())])
            shown = [entry["log"] for entry in read(path)]
            assert "".join(shown) == f"{text}\n"
            assert len(shown) == 2


def test_what_is_no_utf8_is_cut_where_it_is(tmp_path):
    write(tmp_path / "log", [(STDOUT, b"\xbf" * (MAX_LINE + 5) + b"\n")])
    assert [len(entry["log"]) for entry in read(tmp_path / "log")] == [MAX_LINE, 6]


def test_a_log_that_is_emptied_from_outside_goes_on_and_is_not_rotated_early(tmp_path):
    """As by ``> LOG``. A reader sees it by the file's size, so each round here is shorter."""
    path = tmp_path / "log"
    log = LogFile(str(path), max_bytes=4000, max_files=2)
    rounds = [[f"{count} {number}\n" for number in range(count)] for count in (30, 20, 10, 5, 2)]

    async def followed():
        shown = []
        stream = follow(str(path), LogQuery(follow=True), lambda: True)
        for lines in rounds:
            for line in lines:
                log.write(STDOUT, line.encode())
            while len(shown) < sum(map(len, rounds[: rounds.index(lines) + 1])):
                shown += [json.loads(line)["log"] for line in await anext(stream)]
            os.truncate(path, 0)
        await stream.aclose()
        return shown

    assert asyncio.run(followed()) == [line for lines in rounds for line in lines]
    log.close()
    assert names(tmp_path) == ["log"]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [b"", b"{", b'{"log":"cut', b"5", b"[]", b"]", b"[", b'{"a":1},{"b":2}']
            ),
            st.tuples(TEXT, st.sampled_from(["stdout", "stderr"])).map(
                lambda pair: json.dumps({"log": pair[0].decode(), "stream": pair[1]}).encode()
            ),
        )
    )
)
def test_many_lines_are_judged_as_each_alone(lines):
    query = LogQuery(streams=frozenset({"stdout"}))
    assert query.accepted(lines) == [line for line in lines if query.accepts(line)]
