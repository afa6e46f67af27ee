import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st

from cgagent.runtime.logfile import MAX_LINE, LogFile, timestamp
from cgagent.runtime.logs import LogQuery, follow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode)
PIECES = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.one_of(TEXT, st.just(b"\n"), st.binary(max_size=20), st.just(b"y" * (MAX_LINE + 5))),
    ),
    max_size=20,
)


def read(path, running=lambda: False, **query):
    async def collect():
        query_ = LogQuery(**query)
        return [e async for batch in follow(str(path), query_, running) for e in batch]

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
    for stream in ("stdout", "stderr"):
        sent = b"".join(data for name, data in pieces if name == stream)
        text = "".join(e["log"] for e in entries if e["stream"] == stream)
        # bytes that are no UTF-8 are replaced; a long line may be cut inside a character
        assert text.count("\n") == sent.count(b"\n")
        try:
            assert text == sent.decode()
        except UnicodeDecodeError:
            assert "�" in text


def test_lines_are_entries_and_a_long_line_is_several(tmp_path):
    write(
        tmp_path / "log", [("stdout", b"one\ntw"), ("stdout", b"o\n" + b"x" * (2 * MAX_LINE + 1))]
    )
    logs = [e["log"] for e in read(tmp_path / "log")]
    assert logs == ["one\n", "two\n", "x" * MAX_LINE, "x" * MAX_LINE, "x"]


def test_the_streams_do_not_mix_within_a_line(tmp_path):
    write(tmp_path / "log", [("stdout", b"a"), ("stderr", b"b\n"), ("stdout", b"c\n")])
    assert [(e["stream"], e["log"]) for e in read(tmp_path / "log")] == [
        ("stderr", "b\n"),
        ("stdout", "ac\n"),
    ]


def test_a_query_chooses(tmp_path):
    path = tmp_path / "log"
    write(path, [("stdout", b"1\n2\n3\n"), ("stderr", b"e\n")])
    assert [e["log"] for e in read(path, tail=2)] == ["3\n", "e\n"]
    assert read(path, tail=0) == []
    assert [e["log"] for e in read(path, streams=frozenset({"stdout"}), tail=1)] == ["3\n"]
    assert read(tmp_path / "none") == []


def test_a_line_that_a_full_disk_cut_is_passed_over(tmp_path):
    path = tmp_path / "log"
    write(path, [("stdout", b"1\n")])
    with path.open("ab") as f:
        f.write(b'{"log":"cut\n[5]\n')
    write(path, [("stdout", b"2\n")])
    assert [e["log"] for e in read(path)] == ["1\n", "2\n"]


def test_following_ends_when_the_container_has_ended_and_all_is_read(tmp_path):
    path = tmp_path / "log"
    write(path, [("stdout", b"1\n")])
    states = iter([True, True, False])

    def running():
        write(path, [("stdout", b"more\n")])
        return next(states)

    assert [e["log"] for e in read(path, running, follow=True)] == ["1\n"] + ["more\n"] * 3


def test_a_disk_that_is_full_costs_output_only():
    log = LogFile("/dev/full")
    log.write("stdout", b"lost\n")
    assert log.dropped_bytes > 0
    log.close()


def test_every_line_is_json_with_a_time(tmp_path):
    write(tmp_path / "log", [("stdout", b'quote " and \x00\x1b\n')])
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert set(json.loads(line)) == {"log", "stream", "time"}
    assert timestamp(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"
