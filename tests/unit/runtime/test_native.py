"""The agent's end of the protocol, against supervisors that do not listen, or die."""

import asyncio
import contextlib
import socket

from cgagent.runtime import wire
from cgagent.runtime.native import Supervisor

MANY = 400
SIZE = 2000


def answer(sock, message):
    who = {"pid": 1, "keeper": 1, "life": "one", "hints": []}
    wire.send(sock, {"seq": message["seq"], **(who if message["op"] == "list" else {})})


async def listen(listener):
    """A supervisor's next connection."""
    sock, _ = await asyncio.get_running_loop().sock_accept(listener)
    sock.setblocking(True)
    return sock


async def hear(sock):
    received = await asyncio.to_thread(wire.receive, sock)
    assert received is not None
    return received[0]


def test_one_that_dies_while_it_does_not_listen_is_followed_by_the_next(tmp_path):
    """What could not be sent any more, and what was not answered, is asked again."""

    async def scenario():
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(tmp_path / "supervisor.sock"))
        listener.listen()
        listener.setblocking(False)
        supervisor = Supervisor(
            tmp_path, tmp_path / "log", lambda *_: None, lambda *_: None, lambda _: None
        )
        connecting = asyncio.create_task(supervisor.connect())
        first = await listen(listener)
        answer(first, await hear(first))
        await connecting
        asked = [
            asyncio.create_task(supervisor.request("signal", key="x" * SIZE, signal=n))
            for n in range(MANY)
        ]
        await asyncio.sleep(0.2)  # more than the socket holds: some wait for room
        first.close()
        second = await listen(listener)

        def serve():
            while received := wire.receive(second):
                answer(second, received[0])

        serving = asyncio.create_task(asyncio.to_thread(serve))
        done, pending = await asyncio.wait(asked, timeout=30)
        supervisor.close()
        second.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            await serving
        second.close()
        listener.close()
        assert not pending
        assert [task.exception() for task in done if task.exception()] == []

    asyncio.run(scenario())
