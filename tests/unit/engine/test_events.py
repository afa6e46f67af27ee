import asyncio

from cgagent.engine.events import KEPT, Events


def test_the_recent_past_is_kept():
    events = Events()
    for number in range(KEPT + 5):
        events.publish("container", "start", str(number), {"name": f"n{number}"})
    recent = events.recent()
    assert len(recent) == KEPT
    assert (recent[-1].id, recent[-1].attributes) == (str(KEPT + 4), {"name": f"n{KEPT + 4}"})
    assert events.recent(recent[-1].time_ns + 1) == []
    assert recent[-1] in events.recent(recent[-1].time_ns)


def test_subscribers_get_what_comes_until_they_leave():
    async def scenario():
        events = Events()
        events.publish("image", "pull", "before")
        with events.subscribe() as one, events.subscribe() as two:
            events.publish("image", "pull", "during")
            assert (await one.get()).id == (await two.get()).id == "during"
            assert one.empty()
        events.publish("image", "pull", "after")
        assert one.empty()

    asyncio.run(scenario())


def test_a_subscriber_that_does_not_read_loses_events_and_stops_nobody():
    async def scenario():
        events = Events()
        with events.subscribe() as queue:
            for number in range(5000):
                events.publish("container", "start", str(number))
        assert queue.qsize() + events.dropped == 5000
        assert events.dropped > 0
        assert (await queue.get()).id == "0"

    asyncio.run(scenario())
