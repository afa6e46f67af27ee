"""A door and its connections, over a socket pair's worth of real ones."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from cgagent.api.bounds import Bounded, Bounds
from cgagent.api.exposition import Exposition
from cgagent.api.hijack import HijackProtocol
from cgagent.api.servers import Server
from cgagent.loopwatch import URGENT
from cgagent.metrics import Asked, Rendering
from tests.world.fakes.agent import until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WIDE = Bounds(connections=8, of_one=8)


class World:
    """A server with an app that counts, and clients of it."""

    def __init__(self, path, bounds, size=2, base=Bounded):
        self.path = str(path)
        self.size = size
        self.urgent = []
        self.begun = self.now = self.most = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.endless = asyncio.Event()
        self.endless.set()

        async def app(scope, receive, send):
            await self.app(scope["path"], send)

        self.server = Server(app, bounds, base)
        self.server.config.load()
        self.writers = []

    async def app(self, path, send):
        self.begun += 1
        self.urgent.append((path, URGENT.get()))
        self.now += 1
        self.most = max(self.most, self.now)
        await (self.endless if path == "/endless" else self.hold).wait()
        length = [(b"content-length", str(self.size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for at in range(0, self.size, 65536):
            piece = b"x" * min(65536, self.size - at)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.now -= 1

    async def client(self, data=b""):
        reader, writer = await asyncio.open_unix_connection(self.path)
        self.writers.append(writer)
        writer.write(data)
        await self.rest()
        return reader, writer

    @staticmethod
    async def rest():
        """Run the event loop until the server has handled all input: the sockets are local."""
        for _ in range(50):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def world(path, bounds=WIDE, **how):
    made = World(path, bounds, **how)
    config = made.server.config

    def connect():
        return config.http_protocol_class(
            config=config, server_state=made.server.server_state, app_state={}
        )

    loop = asyncio.get_running_loop()
    listening = await loop.create_unix_server(connect, made.path)
    try:
        yield made
    finally:
        for writer in made.writers:
            writer.close()
        listening.close()
        await made.rest()


def over(work):
    """Run a test's coroutine; two minutes are far more than any of them takes."""
    asyncio.run(asyncio.wait_for(work, 120))


def test_requests_of_a_pipeline_are_answered_one_at_a_time_and_in_full(tmp_path):
    async def look():
        async with world(tmp_path / "s") as made:
            reader, _ = await made.client(GET * 50)
            for _ in range(50):
                assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
            assert (made.begun, made.most) == (50, 1)

    over(look())


def test_who_asks_one_thing_at_a_time_comes_between_the_pipelines(tmp_path):
    async def look():
        async with world(tmp_path / "s") as made:
            made.hold.clear()
            for _ in range(5):
                await made.client(GET * 50)
            reader, writer = await made.client()
            made.hold.set()
            writer.write(GET)
            await reader.readuntil(b"xx")
            assert made.begun < 15
            await until(lambda: made.begun == 251)

    over(look())


def test_a_long_answer_does_not_hold_what_others_have_sent_ahead(tmp_path):
    async def look():
        async with world(tmp_path / "s") as made:
            made.endless.clear()
            await made.client(GET + GET.replace(b"/", b"/endless", 1))
            reader, _ = await made.client(GET * 3)
            for _ in range(3):
                await reader.readuntil(b"xx")
            made.endless.set()

    over(look())


def test_an_answer_that_nobody_reads_holds_the_next_requests_back(tmp_path):
    async def look():
        async with world(tmp_path / "s", size=4 << 20) as made:
            await made.client(GET * 50)
            await until(lambda: made.begun)
            await made.rest()
            assert made.begun == 1

    over(look())


@pytest.mark.parametrize("more", [b"y" * 100_000, b"A: b\r\n" * 200], ids=["one", "many"])
def test_a_head_has_an_end(tmp_path, more):
    async def look():
        async with world(tmp_path / "s") as made:
            reader, _ = await made.client(b"GET / HTTP/1.1\r\nX: " + more)
            assert (await reader.read(1024)).startswith(b"HTTP/1.1 431 ")
            assert made.begun == 0

    over(look())


@pytest.mark.parametrize("data", [b"", GET[:10]], ids=["idle", "half"])
def test_who_sends_no_whole_request_is_closed(tmp_path, data, leap):
    async def look():
        bounds = Bounds(connections=8, of_one=8, idle_s=60, head_s=60)
        async with world(tmp_path / "s", bounds) as made:
            reader, _ = await made.client(data)
            leap(61)
            made.server.door.sweep()
            assert await reader.read() == b""

    over(look())


def test_an_answer_that_is_not_read_in_time_is_cut_off(tmp_path, leap):
    async def look():
        bounds = Bounds(connections=8, of_one=8, answer_s=60)
        async with world(tmp_path / "s", bounds, size=4 << 20) as made:
            await made.client(GET)
            await until(lambda: made.now)
            leap(61)
            made.server.door.sweep()
            await until(lambda: not made.now and not made.server.server_state.connections)

    over(look())


def test_where_it_is_full_who_waits_makes_room_and_who_is_answered_does_not(tmp_path):
    async def look():
        async with world(tmp_path / "s", Bounds(connections=2, of_one=2)) as made:
            made.hold.clear()
            idle, _ = await made.client()
            answered, _ = await made.client(GET)
            late, _ = await made.client(GET)
            assert await idle.read() == b""
            refused, _ = await made.client(GET)
            assert b"503" in await refused.read()
            made.hold.set()
            for reader in (answered, late):
                assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")

    over(look())


def test_scrapes_at_the_same_moment_are_rendered_once():
    async def look():
        rendered = []

        async def render(asked):
            rendered.append(asked)
            await asyncio.sleep(0.02)
            return Rendering(b"text", {})

        exposition = Exposition(SimpleNamespace(monitor=SimpleNamespace(render=render)))
        asked = [Asked(), Asked(), Asked(gzip=True), Asked()]
        answers = await asyncio.gather(*map(exposition.rendering, asked))
        assert [a.body for a in answers] == [b"text"] * 4
        assert rendered == [Asked(), Asked(gzip=True)]

    over(look())


@pytest.mark.anyio
async def test_what_is_sent_behind_something_urgent_is_not_urgent(tmp_path):
    async with world(tmp_path / "s", base=HijackProtocol) as w:
        asked = [GET.replace(b"/ ", path + b" ", 1) for path in (b"/_ping", b"/x", b"/-/healthy")]
        reader, _ = await w.client(b"".join(asked))
        for _ in range(3):
            await asyncio.wait_for(reader.readuntil(b"xx"), 10)
        assert w.urgent == [("/_ping", True), ("/x", False), ("/-/healthy", True)]
