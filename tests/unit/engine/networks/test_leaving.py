"""Links on their way out, and who waits for their addresses."""

import asyncio
import threading
from types import SimpleNamespace

from cgagent.engine.networks.leaving import Leaving


def test_who_needs_an_address_waits_for_a_link_that_another_is_removing():
    may_end, detached, gone = threading.Event(), [], []

    def detach(*names):
        if names:
            may_end.wait(10)
        detached.extend(names)

    async def scenario():
        leaving = Leaving(lambda: SimpleNamespace(detach=detach), gone.append)
        place = SimpleNamespace(host_name="cg1")
        leaving.add([place])
        one = asyncio.create_task(leaving.now())
        await asyncio.sleep(0)
        other = asyncio.create_task(leaving.now())
        await asyncio.sleep(0.05)
        assert not other.done()
        may_end.set()
        await other
        assert gone == [place]
        await one
        await leaving.close()

    asyncio.run(scenario())
    assert "cg1" in detached
