"""The agent's end of the protocol, against supervisors that do not listen, or die."""

import asyncio
import contextlib
import socket
from unittest.mock import Mock

import pytest

from cgagent.errors import ConflictError, DeadlineError
from cgagent.messages import wire
from cgagent.runtime.client import Supervisor
from cgagent.runtime.messages.agent import Answer, Ask, Done, List, Resize, Signal, Who
from cgagent.runtime.messages.outcomes import Failed

MANY = 400
SIZE = 2000
SIGNAL = Signal(key="one", signal=15)


def answer(sock, ask):
    who = Who(pid=1, keeper=1, life="one")
    result = who if isinstance(ask.request, List) else Done()
    wire.send(sock, Answer(seq=ask.seq, result=result))


async def listen(listener):
    """A supervisor's next connection."""
    sock, _ = await asyncio.get_running_loop().sock_accept(listener)
    sock.setblocking(True)
    return sock


async def hear(sock):
    received = await asyncio.to_thread(wire.receive, sock, Ask)
    assert received is not None
    return received[0]


def listening(directory):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(directory / "supervisor.sock"))
    listener.listen()
    listener.setblocking(False)
    return listener


async def connected(directory, listener):
    """An agent's end, and the supervisor's end of its connection."""
    supervisor = Supervisor(directory, directory / "log", Mock())
    connecting = asyncio.create_task(supervisor.connect())
    sock = await listen(listener)
    answer(sock, await hear(sock))
    await connecting
    return supervisor, sock


def test_one_that_is_there_and_does_not_answer_is_given_up(tmp_path):
    async def scenario():
        with listening(tmp_path) as listener:
            supervisor, sock = await connected(tmp_path, listener)
            with sock:
                with pytest.raises(DeadlineError, match=r"\(pid 1\) does not answer: signal"):
                    await supervisor.request(SIGNAL, limit_s=0.05)
                await hear(sock)
                asked = asyncio.create_task(supervisor.request(SIGNAL, limit_s=30))
                answer(sock, await hear(sock))
                await asked
                supervisor.close()

    asyncio.run(scenario())


def test_one_that_dies_while_it_does_not_listen_is_followed_by_the_next(tmp_path):
    """What could not be sent any more, and what was not answered, is asked again."""

    async def scenario():
        listener = listening(tmp_path)
        supervisor, first = await connected(tmp_path, listener)
        asked = [
            asyncio.create_task(supervisor.request(Signal(key="x" * SIZE, signal=n)))
            for n in range(MANY)
        ]
        await asyncio.sleep(0.2)  # more than the socket holds: some wait for room
        first.close()
        second = await listen(listener)

        def serve():
            while received := wire.receive(second, Ask):
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


def test_it_is_asked_at_once_and_in_the_order_of_the_calls(tmp_path):
    """The answer to the first is awaited last; a failure is that of its own request."""

    async def scenario():
        with listening(tmp_path) as listener:
            supervisor, sock = await connected(tmp_path, listener)
            with sock:
                first = supervisor.request(SIGNAL, limit_s=None)
                second = supervisor.request(Resize(key="one", rows=1, columns=2))
                asked = [await hear(sock), await hear(sock)]
                assert [type(ask.request) for ask in asked] == [Signal, Resize]
                answer(sock, asked[1])
                assert await second == Done()
                failed = Failed.of(ConflictError("it has ended"))
                wire.send(sock, Answer(seq=asked[0].seq, result=failed))
                with pytest.raises(ConflictError, match="it has ended"):
                    await first
                supervisor.close()

    asyncio.run(scenario())


def test_what_is_not_understood_harms_nothing_else(tmp_path):
    async def scenario():
        with listening(tmp_path) as listener:
            supervisor, sock = await connected(tmp_path, listener)
            with sock:
                asked = asyncio.create_task(supervisor.request(SIGNAL))
                sock.send(b'{"type": "Answer"}')
                answer(sock, await hear(sock))
                assert await asked == Done()
                supervisor.close()

    asyncio.run(scenario())
