"""Answers without an end: what ends them, and what their clients see of it."""

import asyncio
import contextlib

import pytest

from cgagent.api.bounds import Bounds
from cgagent.api.endless import Endless
from cgagent.api.hijack import HijackProtocol
from cgagent.api.servers import Server
from cgagent.api.turns import InTurn
from tests.world.fakes.agent import until

pytestmark = pytest.mark.anyio

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"0\r\n\r\n"


class World:
    def __init__(self, path):
        self.path = str(path)
        self.ended = asyncio.Event()
        self.hang_up = None

        async def app(scope, receive, send):
            await self.app(scope, receive, send)

        self.server = Server(InTurn(app), Bounds(connections=9, of_one=9), HijackProtocol)
        self.server.config.load()

    async def app(self, scope, receive, send):
        if scope["path"] == "/endless":
            await Endless(self.pieces, "text/plain")(scope, receive, send)
        else:
            length = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": b"ok"})

    async def pieces(self, hang_up):
        self.hang_up = hang_up
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def client(self):
        """Whose connection the server has taken."""
        before = len(self.server.server_state.connections)
        found = await asyncio.open_unix_connection(self.path)
        await until(lambda: len(self.server.server_state.connections) > before)
        return found

    async def following(self):
        reader, writer = await self.client()
        writer.write(GET % b"/endless")
        await reader.readuntil(b"first\r\n")
        return reader, writer

    def stop(self):
        """As uvicorn does."""
        for connection in list(self.server.server_state.connections):
            connection.shutdown()


@pytest.fixture
async def world(tmp_path, anyio_backend):
    made = World(tmp_path / "s")
    config, state = made.server.config, made.server.server_state

    def connect():
        return config.http_protocol_class(config=config, server_state=state, app_state={})

    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(connect, made.path):
        yield made
        made.stop()
        for task in list(state.tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_the_work_ends_when_its_client_leaves(world):
    _, writer = await world.following()
    writer.close()
    await asyncio.wait_for(world.ended.wait(), 10)


async def test_an_agent_that_stops_ends_it_as_a_whole_answer(world):
    reader, writer = await world.following()
    world.stop()
    assert await asyncio.wait_for(reader.read(), 10) == LAST
    assert world.ended.is_set()
    writer.close()


async def test_who_is_hung_up_on_can_tell_that(world):
    reader, writer = await world.following()
    world.hang_up()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert world.ended.is_set()
    writer.close()


async def test_who_has_just_connected_is_answered_by_an_agent_that_stops(world):
    reader, writer = await world.client()
    world.stop()
    writer.write(GET % b"/")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.endswith(b"\r\n\r\nok")
    assert b"connection: close" in answer.lower()
    writer.close()


async def test_who_has_connected_and_says_nothing_is_not_waited_for(world):
    reader, writer = await world.client()
    world.stop()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
