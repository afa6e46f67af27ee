"""What the kernel announces of a container's group is an event, or in its record."""

import signal
import time

import pytest

from cgagent.cgroups import UNLIMITED, Oom
from cgagent.engine.events import EventQuery
from cgagent.engine.observe import watch
from cgagent.engine.observe.watch import SeenOom, oom_attributes, parse_trigger
from cgagent.errors import InvalidInputError
from cgagent.runtime.messages.outcomes import Exit
from tests.world.fakes.agent import over, started, until

pytestmark = pytest.mark.anyio

NS = 1_000_000_000


def told(engine, action):
    return [e.attributes for e in engine.events.past(EventQuery()) if e.action == action]


def kill_for_memory(world, container, kills):
    path = container.record.cgroup_path
    for name in ("memory.events.local", "memory.events"):
        world.tree.say(path, name, f"high 0\nmax 0\noom {kills}\noom_kill {kills}\n")


async def test_an_oom_kill_is_in_the_record_at_once(engine, world):
    container = await started(engine)
    world.tree.say(container.record.cgroup_path, "memory.max", "4096")
    kill_for_memory(world, container, 2)
    await until(lambda: container.record.outcome.oom)
    outcome = container.record.outcome
    assert (outcome.oom["victims"], outcome.oom["limit_bytes"]) == (2, 4096)
    assert outcome.oom["limiting_group"] == container.record.cgroup_path
    assert outcome.oom_kills == 2
    assert not outcome.oom_killed
    assert told(engine, "oom")[0]["victims"] == "2"


async def test_one_that_outlived_it_was_not_ended_by_it(engine, world):
    container = await started(engine)
    kill_for_memory(world, container, 1)
    await until(lambda: container.record.outcome.oom)
    world.supervisor.end(container.id, 0)
    await over(container)
    assert not container.record.outcome.oom_killed
    assert container.record.outcome.oom_kills == 1


async def test_what_happened_while_no_agent_was_there(world):
    async with world.agent() as engine:
        container = await started(engine)
    kill_for_memory(world, container, 3)
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        assert found.record.outcome.oom_kills == 3
        assert told(engine, "oom")[0]["victims"] == "3"
        kill_for_memory(world, found, 4)
        await until(lambda: found.record.outcome.oom_kills == 4)


async def test_limits_that_are_hit_are_told_once_in_a_while(engine, world, monkeypatch):
    container = await started(engine)
    path = container.record.cgroup_path
    world.tree.say(path, "pids.events", "max 3")
    world.tree.say(path, "memory.events", "high 5\nmax 7")
    await until(lambda: told(engine, "pids-refused") and told(engine, "memory-max"))
    assert [a["count"] for a in told(engine, "pids-refused")] == ["3"]
    assert [a["count"] for a in told(engine, "memory-high")] == ["5"]
    assert [a["count"] for a in told(engine, "memory-max")] == ["7"]
    world.tree.say(path, "pids.events", "max 4")
    await until(lambda: engine.watch._told[container.id, "pids-refused"][1] == 1)
    monkeypatch.setattr(watch, "_QUIET_S", 0.0)
    world.tree.say(path, "pids.events", "max 6")
    await until(lambda: len(told(engine, "pids-refused")) == 2)
    assert told(engine, "pids-refused")[1]["count"] == "3"


async def test_a_trigger_that_the_kernel_refuses_is_done_without(world, caplog, monkeypatch):
    def refuse(*_):
        raise InvalidInputError("no trigger for memory pressure")

    monkeypatch.setattr("cgagent.cgroups.watcher._open_trigger", refuse)
    async with world.agent(pressure_triggers=("memory some 150000 1000000",)) as engine:
        container = await started(engine)
        assert "no pressure trigger" in caplog.text
        kill_for_memory(world, container, 1)
        await until(lambda: container.record.outcome.oom)


@pytest.mark.parametrize(
    "text", ["", "memory some 1", "disk some 1 2", "memory any 1 2", "memory some x 2"]
)
def test_what_is_no_trigger(text):
    with pytest.raises(InvalidInputError, match="must be RESOURCE"):
        parse_trigger(text)


def test_a_trigger():
    assert parse_trigger("io full 1 2").resource == "io"


@pytest.mark.parametrize(
    ("first", "exit_code", "number", "later_s", "expected"),
    [
        (True, 137, signal.SIGKILL, 5, True),
        (False, 137, signal.SIGKILL, 5, False),
        (False, 137, signal.SIGKILL, 0.001, True),
        (False, 137, None, 0.5, True),
        (False, 137, None, 5, False),
        (True, 0, None, 0, False),
    ],
)
def test_whether_it_was_the_containers_end(first, exit_code, number, later_s, expected):
    figures = {"usage_bytes": None, "peak_bytes": None, "limit_bytes": UNLIMITED}
    event = Oom(group="/g", limiting_group="/g", victims=1, **figures)
    seen = SeenOom.of(event, is_of_first=first)
    finished_ns = time.time_ns() + int(later_s * NS)
    exit_ = Exit(exit_code=exit_code, signal=number, finished_ns=finished_ns)
    assert seen.ended(exit_) is expected
    assert oom_attributes(event) == {"limiting_group": "/g", "victims": "1"}
