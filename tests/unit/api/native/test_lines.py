"""Answers that go on, in both of their forms."""

import asyncio

import pytest

from cgagent.api.native.lines import EndlessLines, Line, Lines
from cgagent.api.native.logplaces import Place, placed
from cgagent.errors import InvalidInputError


async def _pieces():
    yield []
    yield [Line(b'{"a":1}', "7"), Line(b'{"a":2}')]


def told(accept, endless):
    """The type, the body, and how often the end was told."""
    sent, ends = [], []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    async def go():
        headers = [(b"accept", accept)] if accept else []
        response = Lines(_pieces(), lambda: ends.append(1))
        if endless:
            ends.append(1)  # nothing ends with it
            response = EndlessLines(lambda _: _pieces())
        await response({"type": "http", "headers": headers}, receive, send)

    asyncio.run(go())
    kind = dict(sent[0]["headers"])[b"content-type"].decode()
    return kind.partition(";")[0], b"".join(m.get("body", b"") for m in sent[1:]), len(ends)


LINES = ("application/x-ndjson", b'{"a":1}\n{"a":2}\n', 1)
EVENTS = ("text/event-stream", b'id: 7\ndata: {"a":1}\n\ndata: {"a":2}\n\n', 1)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"", LINES),
        (b"*/*", LINES),
        (b"application/x-ndjson", LINES),
        (b"text/event-stream", EVENTS),
    ],
)
@pytest.mark.parametrize("endless", [False, True])
def test_the_form_is_the_clients_choice(accept, expected, endless):
    assert told(accept, endless) == expected


LOG = [
    [b'{"time": "2026-01-01T00:00:00.5Z", "log": "%d"}' % n for n in range(3)],
    [],
    [
        b'{"time": "2026-01-01T00:00:00.5Z", "log": "3"}',
        b'{"time": "2026-01-01T00:00:01.5Z", "log": "4"}',
    ],
]


def entries(after=None):
    async def pieces():
        for piece in LOG:
            yield piece

    async def go():
        return [line async for lines in placed(pieces(), after) for line in lines]

    return asyncio.run(go())


def test_a_log_goes_on_behind_any_of_its_entries():
    whole = entries()
    assert [line.id.partition("/")[2] for line in whole] == ["0", "1", "2", "3", "0"]
    for at, line in enumerate(whole[:4]):
        rest = entries(Place.parse(line.id))
        assert [one.id for one in rest] == [one.id for one in whole[at + 1 :]]


@pytest.mark.parametrize("text", ["x", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z/x", "x/1"])
def test_what_is_no_place_in_a_log(text):
    with pytest.raises(InvalidInputError, match="Last-Event-ID"):
        Place.parse(text)
