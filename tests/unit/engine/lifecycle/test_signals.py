import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace

from cgagent.engine.containers.container import Outcome
from cgagent.engine.lifecycle.signals import Signals
from cgagent.engine.options.restart import RestartState


@dataclass(frozen=True)
class Record:
    outcome: Outcome
    restart: RestartState


class Container:
    """As much of one as a hold sees."""

    removed = False

    def __init__(self):
        self.record = Record(Outcome(status="restarting"), RestartState(due_ns=5))
        self.lock = asyncio.Lock()

    @property
    def restarting(self):
        return self.record.outcome.status == "restarting"

    def with_outcome(self, **changes):
        return replace(self.record, outcome=replace(self.record.outcome, **changes))


def note(container, record):
    container.record = record


SIGNALS = Signals(SimpleNamespace(containers=SimpleNamespace(note=note)))


def test_one_that_waits_for_its_restart_has_ended():
    container = Container()
    asyncio.run(SIGNALS.hold(container))
    assert container.record == Record(Outcome(status="exited"), RestartState(held=True))


def test_one_that_is_being_restarted_is_not_once_more():
    """Its start ends with a note of its own: running, and restarts as they were when it began."""

    async def scenario():
        container = Container()
        restart = container.record.restart
        async with container.lock:
            holding = asyncio.create_task(SIGNALS.hold(container))
            await asyncio.sleep(0)
            running = Outcome(status="running", pid=7)
            container.record = Record(running, replace(restart, due_ns=None))
        await holding
        assert container.record == Record(running, RestartState(held=True))

    asyncio.run(scenario())
