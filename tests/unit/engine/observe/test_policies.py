"""Policies are told of ticks and of the kernel's events, whatever one of them does."""

import asyncio
import threading
from types import SimpleNamespace

from cgagent.engine.observe.policies import Policies, Tick

TICK = Tick(lambda _: None, lambda _: None, frozenset({"a"}))


class Recorder:
    def __init__(self):
        self.told = []

    def ticked(self, tick):
        self.told.append((tick.frozen, threading.current_thread()))

    def happened(self, container, event):
        self.told.append((container, event))


class Broken:
    def ticked(self, _tick):
        raise ZeroDivisionError

    def happened(self, _container, _event):
        raise ZeroDivisionError


def made(*policies):
    found = Policies()
    for policy in policies:
        found.add(policy)
    return found


def test_a_tick_comes_from_the_samplers_thread_into_the_loop(caplog):
    async def scenario():
        recorder = Recorder()
        policies = made(Broken(), recorder)
        policies.tick_ended(TICK)  # not started: nobody is told
        policies.start()
        thread = threading.Thread(target=policies.tick_ended, args=[TICK])
        thread.start()
        thread.join()
        policies.tick_ended(TICK)  # the last one has not been looked at so far
        await asyncio.sleep(0.01)
        assert recorder.told == [(frozenset({"a"}), threading.current_thread())]
        policies.tick_ended(TICK)
        await asyncio.sleep(0.01)
        assert len(recorder.told) == 2
        policies.stop()
        policies.tick_ended(TICK)
        await asyncio.sleep(0.01)
        assert len(recorder.told) == 2

    asyncio.run(scenario())
    assert "policy Broken failed at a tick" in caplog.text


def test_an_event_of_the_kernel_is_told_to_all(caplog):
    recorder = Recorder()
    container = SimpleNamespace(name="one")
    made(Broken(), recorder).happened(container, "an event")
    assert recorder.told == [(container, "an event")]
    assert "policy Broken failed at an event" in caplog.text
