import asyncio

import pytest
from starlette.requests import Request

from cgagent.api.attendance import while_there
from cgagent.errors import UnavailableError


def request_that_hears(*messages):
    async def receive():
        await asyncio.sleep(0.01)
        return left.pop(0) if left else await asyncio.Event().wait()

    left = [{"type": message} for message in messages]
    return Request({"type": "http"}, receive)


def test_work_ends_with_its_client():
    async def look():
        cancelled = []

        async def work():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        with pytest.raises(UnavailableError, match="hung up"):
            await while_there(request_that_hears("http.request", "http.disconnect"), work())
        await asyncio.sleep(0)
        assert cancelled == [True]

    asyncio.run(look())


def test_a_client_that_stays_gets_the_result():
    async def look():
        assert await while_there(request_that_hears(), asyncio.sleep(0.02, 7)) == 7

    asyncio.run(look())
