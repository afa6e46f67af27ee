"""What happens to a group amid a freeze, a stop or a change of it, and what is left then."""

import asyncio
import time

import pytest
from starlette.requests import Request

from cgagent.api.native import groups as api
from cgagent.api.native.etags import tag_of
from cgagent.cgroups import Group, Limits
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.restart import RestartPolicy
from cgagent.errors import ChangedError, ConflictError, DeadlineError
from tests.world.fakes.agent import started, until

pytestmark = pytest.mark.anyio

LATER_NS = time.time_ns() + 3600 * 10**9


async def create(engine, *names):
    for name in names:
        await engine.grouping.create(name, Limits(), Conveniences())


def found(engine, name="team"):
    return engine.container_groups.find(name)


@pytest.fixture
def whole(engine):
    return engine.whole_groups


async def test_until_a_failed_freeze_is_taken_back_its_record_answers_for_it(
    engine, world, whole, monkeypatch
):
    await create(engine, "team")
    noted, plain = [], Group.thaw

    def thaw(group, *more):
        noted.append(found(engine).frozen_since_ns is not None)
        plain(group, *more)

    monkeypatch.setattr(Group, "thaw", thaw)
    world.tree.never_freezes = True
    with pytest.raises(DeadlineError, match="did not freeze in time"):
        await whole.freezing.freeze("team", 0.01, lease_s=60)
    assert noted == [True]
    assert (found(engine).frozen_since_ns, found(engine).thaw_at_ns) == (None, None)


async def test_a_freeze_for_a_time_ends_with_that_of_the_group_around_it(engine, whole, leap):
    """Nothing is tried in vain meanwhile, and nothing once a user has thawed it."""
    await create(engine, "team", "team/low")
    await whole.freezing.freeze("team/low", lease_s=60)
    await whole.freezing.freeze("team")
    leap(60)
    await until(lambda: not whole.freezing._leases)
    assert found(engine, "team/low").frozen_since_ns is not None
    await whole.freezing.thaw("team")
    await until(lambda: found(engine, "team/low").frozen_since_ns is None)
    await whole.freezing.freeze("team", lease_s=60)
    await whole.freezing.thaw("team")
    leap(60)
    await until(lambda: not whole.freezing._leases)
    jobs = [(job.name, job.status) for job in engine.jobs.all()]
    assert jobs.count(("group-thaw", "done")) == 3
    assert ("group-thaw", "failed") not in jobs


async def test_a_freeze_of_a_container_for_a_time_ends_with_that_of_the_group_around_it(
    engine, whole
):
    await create(engine, "team", "team/low")
    container = await started(engine, group="team/low")
    await engine.control.freeze(container, lease_s=3600)
    await whole.freezing.freeze("team")
    engine.containers.save(container, container.with_outcome(thaw_at_ns=1))
    engine.control.arm(container)
    await until(lambda: not engine.control._leases)
    assert container.frozen
    await whole.freezing.thaw("team")
    await until(lambda: not container.frozen)


async def test_what_cannot_be_thawed_at_its_time_is_later(engine, monkeypatch):
    monkeypatch.setattr("cgagent.engine.lifecycle.leases._AGAIN_S", 0.01)
    container = await started(engine)
    plain, tried = engine.control.thaw, []

    async def thaw(container, by="user"):
        tried.append(by)
        if len(tried) < 3:
            raise DeadlineError("the kernel is busy")
        await plain(container, by)

    monkeypatch.setattr(engine.control, "thaw", thaw)
    await engine.control.freeze(container, lease_s=0.01)
    await until(lambda: not container.frozen)
    assert tried == ["time"] * 3


async def test_one_that_does_not_stop_is_told_when_all_others_have(engine, whole, monkeypatch):
    await create(engine, "team")
    stuck, other = [await started(engine, name, group="team") for name in ("stuck", "other")]
    plain = engine.lifecycle.stop

    async def stop(container):
        if container is stuck:
            raise DeadlineError("container stuck: it does not die")
        await asyncio.sleep(0.02)
        await plain(container, 0)

    monkeypatch.setattr(engine.lifecycle, "stop", stop)
    with pytest.raises(DeadlineError, match="does not die"):
        await whole.ending.stop_until("team", LATER_NS)
    assert not other.running
    assert set(found(engine).stopped) == {stuck.id, other.id}


async def test_while_one_does_not_stop_its_group_can_be_changed(engine, whole, monkeypatch):
    await create(engine, "team")
    await started(engine, "one", group="team")
    goes_on = asyncio.Event()

    async def stop(_):
        await goes_on.wait()

    monkeypatch.setattr(engine.lifecycle, "stop", stop)
    stopping = asyncio.create_task(whole.ending.stop_until("team", LATER_NS))
    await until(lambda: found(engine).stopped)
    async with asyncio.timeout(5):
        assert [c.name for c in await whole.ending.kill("team")] == ["one"]
    goes_on.set()
    await stopping


async def test_the_next_agent_starts_nothing_in_one_that_is_stopped(world):
    async with world.agent() as engine:
        await create(engine, "team")
        one = await started(engine, "one", group="team", restart=RestartPolicy("always"))
        await engine.whole_groups.ending.stop_until("team", LATER_NS)
        before = one.record.outcome
    async with world.agent() as engine:
        one = engine.containers.find("one")
        assert not one.up
        assert (one.record.outcome.exit_code, one.record.outcome.error) == (before.exit_code, None)
        await engine.whole_groups.ending.start_again("team")
        assert one.running


async def test_the_longest_of_two_times_counts_and_what_it_waits_for_is_named(engine, whole):
    await create(engine, "team", "cold")
    one = await started(engine, "one", group="team")
    await whole.ending.stop_until("team", LATER_NS)
    await whole.ending.stop_until("team", LATER_NS - 10**9)
    assert found(engine).stopped_until_ns == LATER_NS
    await engine.moving.move(one, "cold")
    await whole.freezing.freeze("cold")
    with pytest.raises(ConflictError, match=r"one is not started again yet: .*group thaw cold"):
        await whole.ending.start_again("team")
    assert found(engine).stopped == (one.id,)
    await whole.freezing.thaw("cold")
    await whole.ending.start_again("team")
    assert one.running


async def test_what_was_stopped_and_moved_out_starts_when_its_group_is_removed(engine, whole):
    await create(engine, "team")
    out, inside = [await started(engine, name, group="team") for name in ("out", "inside")]
    await whole.ending.stop_until("team", LATER_NS)
    await engine.moving.move(out, "")
    await engine.grouping.remove("team", force=True)
    assert out.running
    assert inside.removed


async def test_of_two_requests_for_the_same_state_one_is_refused(engine):
    await create(engine, "team")
    endpoints = {route.name: route.endpoint for route in api.routes(engine).routes}
    tag = tag_of(await api._detail(engine, "team")).encode()
    headers = [(b"if-match", tag)]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers})
    bodies = [api.UpdateGroupBody(pids_max=n) for n in (5, 6)]
    came_to = await asyncio.gather(
        *(endpoints["update_group"]("team", body, request) for body in bodies),
        return_exceptions=True,
    )
    refused = [type(one) for one in came_to if isinstance(one, BaseException)]
    assert refused == [ChangedError]
    with pytest.raises(ChangedError):
        await endpoints["remove_group"]("team", request)
    assert found(engine).limits.pids_max in {5, 6}
