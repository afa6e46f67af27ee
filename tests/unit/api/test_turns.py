"""Whose turn it is: a few at a time, of each client one after the other, and nobody forgotten."""

import asyncio

import pytest

from cgagent.api import turns as module
from cgagent.api.access import peers
from cgagent.api.access.peers import Peer
from cgagent.api.endless import EXTENSION as LINE
from cgagent.api.turns import InTurn, Turns

pytestmark = pytest.mark.anyio


async def test_clients_come_in_turn_however_much_one_has_asked_for():
    turns = Turns(1)
    first = await turns.take("busy")
    order = []

    async def ask(who, number):
        place = await turns.take(who)
        order.append((who, number))
        place.give()

    asked = [asyncio.create_task(ask("busy", n)) for n in range(5)]
    await asyncio.sleep(0)
    asked.append(asyncio.create_task(ask("other", 0)))
    await asyncio.sleep(0)
    first.give()
    await asyncio.gather(*asked)
    assert order.index(("other", 0)) == 1
    assert [n for who, n in order if who == "busy"] == list(range(5))


async def test_a_place_is_given_once_and_by_itself_after_a_while(monkeypatch, leap):
    monkeypatch.setattr(module, "_PLACE_S", 60)
    turns = Turns(1)
    held = await turns.take("slow")
    next_one = asyncio.create_task(turns.take("next"))
    await asyncio.sleep(0)
    assert not next_one.done()
    leap(60)
    await next_one
    held.give()
    waiting = asyncio.create_task(turns.take("last"))
    await asyncio.sleep(0)
    assert not waiting.done()  # the place of "slow" was given away before
    leap(60)
    await waiting


async def test_who_stops_waiting_takes_no_place():
    turns = Turns(1)
    held = await turns.take("a")
    gone = asyncio.create_task(turns.take("b"))
    late = asyncio.create_task(turns.take("c"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    held.give()
    (await asyncio.wait_for(late, 10)).give()
    late_gone = asyncio.create_task(turns.take("d"))
    (await asyncio.wait_for(late_gone, 10)).give()


async def test_who_is_cancelled_at_its_turn_gives_it_on():
    turns = Turns(1)
    held = await turns.take("a")
    cancelled = asyncio.create_task(turns.take("b"))
    await asyncio.sleep(0)
    held.give()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    (await asyncio.wait_for(turns.take("c"), 10)).give()


class FakeLine:
    is_gone = False
    rest = None


class World:
    """An application of which each request waits until it is let go."""

    def __init__(self):
        self.begun = []
        self.go = asyncio.Event()
        self.app = InTurn(self._app, Turns(1))
        self.lines = {}

    async def _app(self, scope, _receive, send):
        self.begun.append(scope["path"])
        if scope["path"] == "/events":
            await send({"type": "http.response.start"})
        await self.go.wait()

    async def ask(self, path):
        line = self.lines[path] = FakeLine()
        extensions = {peers.EXTENSION: Peer(uid=0, pid=1), LINE: line}
        scope = {"type": "http", "method": "POST", "path": path, "extensions": extensions}

        async def send(message):
            pass

        await self.app(scope, None, send)


async def asked(*paths):
    world = World()
    tasks = [asyncio.create_task(world.ask(path)) for path in paths]
    for _ in range(5):
        await asyncio.sleep(0)
    return world, tasks


@pytest.mark.parametrize(
    "path",
    [
        "/v1/containers/web/freeze",
        "/v1/containers/web/thaw",
        "/v1.44/containers/web/pause",
        "/containers/web/unpause",
        "/v1.57/containers/web/kill",
        "/containers/web/stop",
        "/_ping",
        "/-/healthy",
    ],
)
async def test_what_is_urgent_waits_for_nobody(path):
    world, tasks = await asked("/v1/containers", "/v1/containers/web/start", path)
    assert world.begun == ["/v1/containers", path]
    world.go.set()
    await asyncio.gather(*tasks)
    assert world.begun[2] == "/v1/containers/web/start"


async def test_an_answer_that_has_begun_leaves_room_for_others():
    world, tasks = await asked("/events", "/v1/info")
    assert world.begun == ["/events", "/v1/info"]
    world.go.set()
    await asyncio.gather(*tasks)


async def test_nothing_is_begun_for_a_client_that_has_gone_meanwhile():
    world, tasks = await asked("/v1/info", "/v1/containers")
    world.lines["/v1/containers"].is_gone = True
    world.go.set()
    await asyncio.gather(*tasks)
    assert world.begun == ["/v1/info"]
