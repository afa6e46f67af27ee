import asyncio
import time
from contextlib import aclosing

import pytest

from cgagent.engine import events as module
from cgagent.engine.events import Event, EventQuery, Events
from cgagent.errors import InvalidInputError
from cgagent.store import Database
from cgagent.store.events import EventRows


@pytest.fixture
def rows(tmp_path):
    database = Database(tmp_path)
    yield EventRows(database)
    database.close()


@pytest.fixture
def events(rows):
    return Events(rows)


def ids(found):
    return [e.id for e in found]


def test_the_past_is_kept_over_a_restart_and_up_to_a_number(rows, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 10)
    monkeypatch.setattr(module, "_PRUNE_EVERY", 5)
    before = Events(rows)
    for number in range(33):
        before.publish("container", "start", str(number), {"name": f"n{number}"})
    after = Events(rows)
    found = after.past(EventQuery())
    assert found == before.past(EventQuery())
    assert 10 <= len(found) < 10 + 5
    assert (found[-1].id, found[-1].attributes) == ("32", {"name": "n32"})


def test_the_past_goes_on_behind_a_number(events):
    for number in range(100):
        events.publish("image", "pull" if number % 3 else "tag", str(number))
    query = EventQuery(filters={"event": ("tag",)})
    whole = events.past(query)
    assert [e.number for e in whole] == sorted({e.number for e in whole})
    told, after = [], 0
    while page := events.first(EventQuery(filters=query.filters, after=after), 5):
        told += page
        after = page[-1].number
    assert told == whole


def test_time_bounds_the_past(events):
    for number in range(3):
        events.publish("image", "pull", str(number))
    times = [e.time_ns for e in events.past(EventQuery())]
    assert ids(events.past(EventQuery(since_ns=times[1]))) == ["1", "2"]
    assert ids(events.past(EventQuery(until_ns=times[1]))) == ["0", "1"]
    assert events.past(EventQuery(since_ns=times[2] + 1)) == []


@pytest.mark.parametrize(
    ("filters", "accepted"),
    [
        ([], True),
        (["type=container"], True),
        (["type=image"], False),
        (["type=image", "type=container"], True),
        (["type=container", "event=die"], False),
        (["event=health_status"], True),
        (["event=health_status: healthy"], True),
        (["container=abc"], True),
        (["container=web"], True),
        (["container=bcd"], False),
        (["image=alpine"], True),
        (["image=alpine:3"], True),
        (["image=busybox"], False),
        (["label=tier"], True),
        (["label=tier=db"], False),
        (["label=tier=web", "container=web"], True),
        (["volume=abcdef"], False),
    ],
)
def test_filters(filters, accepted):
    event = Event(
        time_ns=1,
        type="container",
        action="health_status: healthy",
        id="abcdef",
        attributes={"name": "web", "image": "alpine:3", "tier": "web"},
    )
    assert EventQuery.parse(0, None, filters).accepts(event) == accepted


@pytest.mark.parametrize(
    ("filters", "accepted"),
    [
        (["container=abc"], True),
        (["container=web"], True),
        (["container=web", "type=policy"], True),
        (["container=web", "type=container"], False),
        (["container=calm"], False),
        (["container=db"], False),
    ],
)
def test_a_decision_is_among_what_is_told_of_its_container(filters, accepted):
    about = {"name": "calm", "container": "abcdef", "target": "web", "outcome": "done"}
    event = Event(time_ns=1, type="policy", action="freeze", id="calm", attributes=about)
    assert EventQuery.parse(0, None, filters).accepts(event) == accepted


def test_a_decision_about_a_group_is_of_no_container():
    about = {"name": "calm", "target": "web", "outcome": "done"}
    event = Event(time_ns=1, type="policy", action="freeze", id="web", attributes=about)
    assert not EventQuery.parse(0, None, ["container=web"]).accepts(event)


OF_ONE = (
    *("container=abc", "container=abcdef", "container=web", "container=wéb", "container=none"),
    *("volume=abc", "volume=data", "container=web,event=start", "container=web,container=wéb"),
    *("container=", "container=a%c", "label=name=web"),
)


@pytest.mark.parametrize("filters", OF_ONE)
def test_the_past_of_one_object_is_all_that_its_filter_accepts(events, filters):
    for action in ("create", "start"):
        events.publish("container", action, "abcdef", {"name": "web", "image": "alpine"})
        events.publish("container", action, "123abc", {"name": "wéb", "image": "abc"})
        events.publish("container", action, "456", {"name": "webs", "link": "web"})
        events.publish("policy", action, "calm", {"container": "abcdef", "target": "web"})
        events.publish("policy", action, "web", {"target": "web"})
        events.publish("volume", action, "abc")
        events.publish("volume", action, "data")
    query = EventQuery.parse(0, None, filters.split(","))
    assert events.past(query) == [e for e in events.past(EventQuery()) if query.accepts(e)]


def test_few_events_of_others_are_read_for_one_object(rows, events):
    for number in range(300):
        events.publish("container", "start", f"{number:03}", {"name": f"n{number}"})
    found = rows.between(
        0, 2**62, range(999), 999, EventQuery.parse(0, None, ["container=007"]).word
    )
    assert ids(found) == ["007"]


@pytest.mark.parametrize("item", ["container", "colour=red", "=x"])
def test_an_unknown_filter_is_refused(item):
    with pytest.raises(InvalidInputError, match="is not NAME=VALUE"):
        EventQuery.parse(0, None, [item])


def test_a_stream_tells_the_past_then_what_comes_until_its_end(events):
    async def scenario():
        events.publish("image", "pull", "before")
        query = EventQuery(until_ns=time.time_ns() + 2 * 10**9)
        stream = events.stream(query, follow=True)
        found = [await anext(stream)]
        events.publish("image", "pull", "during")
        found += [e async for e in stream]
        assert ids(found) == ["before", "during"]
        assert time.time_ns() >= query.until_ns
        late = events.stream(EventQuery(until_ns=1), follow=True)
        assert [e async for e in late] == []

    asyncio.run(scenario())


@pytest.mark.anyio
async def test_who_does_not_take_events_is_hung_up_on_and_stops_nobody(events):
    hung_up = []
    async with (
        aclosing(
            events.stream(EventQuery(), follow=True, hang_up=lambda: hung_up.append(1))
        ) as slow,
        aclosing(events.stream(EventQuery(), follow=True)) as quick,
    ):
        events.publish("container", "start", "0")
        assert (await anext(slow)).id == (await anext(quick)).id == "0"
        for number in range(1, 9000):
            events.publish("container", "start", str(number))
            assert (await anext(quick)).id == str(number)
        assert hung_up == [1]
        assert [e async for e in slow] == []
    assert events.cut_off == 1
    assert 0 < events.dropped < 9000
    assert events.listeners == 0


@pytest.mark.anyio
async def test_what_comes_while_the_past_is_told_is_told_once(events):
    for number in range(200):
        events.publish("container", "start", str(number))
    told = []
    async with aclosing(events.stream(EventQuery(), follow=True)) as stream:
        async for event in stream:
            told.append(event.id)
            if len(told) == 10:
                events.publish("container", "start", "200")
            if event.id == "200":
                break
    assert told == [str(number) for number in range(201)]
