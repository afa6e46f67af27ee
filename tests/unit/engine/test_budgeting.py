"""Budgets: counted over restarts of container and agent, acted on when spent, undone in time."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Cpu, DeviceIo, Limits, Memory, Pids, Pressure, Usage
from cgagent.engine.observe.policies import Tick
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.networking import EndpointSpec
from cgagent.engine.options.overrides import LimitOverride
from cgagent.engine.options.wishes import Wishes
from cgagent.engine.policies import accounts, budgeting, spending
from cgagent.errors import InvalidInputError
from cgagent.metrics import Interface, Sample, Target
from tests.world.fakes.agent import started, until

pytestmark = pytest.mark.anyio
S = 10**9
NOTHING = Limits(), Conveniences()


class Rounds:
    """Rounds of sampling, and the clock by which windows begin and end."""

    def __init__(self, monkeypatch):
        self.ahead_ns, self.number = 0, time.monotonic_ns()
        clock = SimpleNamespace(
            time_ns=self.now_ns,
            monotonic=lambda: self.now_ns() / 1e9,
            strftime=time.strftime,
            gmtime=time.gmtime,
        )
        for module in (budgeting, spending):
            monkeypatch.setattr(module, "time", clock)

    def now_ns(self):
        return time.time_ns() + self.ahead_ns

    def sample(self, container, cpu_s=0.0, io=0, net=0):
        self.number += 1
        usage = Usage(
            cpu=Cpu(usage_ns=int(cpu_s * S)),
            memory=Memory(),
            io=(DeviceIo(device="8:0", rbytes=io),),
            pids=Pids(),
            pressure=Pressure(),
            frozen=False,
        )
        started_s = (container.record.outcome.started_ns or 0) / 1e9
        target = Target(container.id, container.name, "", "/", started_s)
        eth0 = Interface("eth0", net, *[0] * 7)
        return Sample(target, 0.0, self.number, self.number, usage, Limits(), (eth0,))

    async def go(self, engine, container, count=2, **used):
        engine.policies.stop()  # there are no rounds but ours
        engine.monitor.last_sampled = lambda _: None
        sample = self.sample(container, **used)
        engine.budgeting._subjects.used = lambda _: sample.usage
        for _ in range(count):
            tick = Tick(lambda _, s=sample: s, lambda _: None, frozenset())
            engine.budgeting.ticked(tick)
            await until(lambda: not engine.budgeting._work)


@pytest.fixture
def rounds(monkeypatch):
    return Rounds(monkeypatch)


def of(engine, container, resource="cpu"):
    return next(v for v in engine.budgeting.view(container.id) if v["resource"] == resource)


def outcomes(engine):
    return [(d.action, d.outcome) for d in engine.rulesets.decisions.page(20, policy="budget")]


def owners(container):
    return [o.owner for o in container.record.overrides]


async def test_it_counts_over_restarts_of_container_and_agent(world, rounds):
    async with world.agent() as engine:
        one = await started(engine, "one", budget="cpu=10s/1h,io=1g/1h,net=1g/1h")
        await rounds.go(engine, one, cpu_s=2, io=100, net=50)
        engine.budgeting.sampled(rounds.sample(one, cpu_s=3))
        await engine.lifecycle.restart(one, 0)
        await rounds.go(engine, one, cpu_s=1, io=10, net=5)
        assert [v["used"] for v in engine.budgeting.view(one.id)] == [4 * S, 110, 55]
        (use, *_) = engine.budgeting.uses(one.id)
        assert (use.resource, use.used_ratio, use.is_acted_on) == ("cpu", 0.4, False)
        assert engine.budgeting.percents(one.id)["cpu"] == 40.0
    async with world.agent() as engine:
        one = engine.containers.find("one")
        assert of(engine, one)["used"] == 4 * S
        await rounds.go(engine, one, cpu_s=1.5)
        assert of(engine, one)["used"] == 4.5 * S
        await engine.lifecycle.remove(one, force=True)
        assert engine.budgeting.view(one.id) == []
    async with world.agent() as engine:
        assert engine.budgeting._accounts._rows.all() == {}


async def test_an_event_once_in_a_window(engine, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h")
    await rounds.go(engine, one, cpu_s=11)
    await rounds.go(engine, one, cpu_s=12)
    assert outcomes(engine) == [("event", "done")]
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=12)
    assert (of(engine, one)["used"], of(engine, one)["spent"]) == (0, False)
    await rounds.go(engine, one, cpu_s=23)
    assert outcomes(engine) == [("event", "done")] * 2


async def test_throttles_are_undone_with_their_windows(engine, rounds):
    text = "cpu=10s/1h:throttle=0.5,io=1k/2h:throttle=1m"
    one = await started(engine, "one", budget=text)
    await rounds.go(engine, one, cpu_s=11, io=2000)
    limits = one.record.limits_in_force
    assert owners(one) == ["budget"]
    assert (limits.cpu_quota_us, limits.cpu_period_us) == (50_000, 100_000)
    assert limits.io_max[0].rbps == 1 << 20
    assert "11 s of 10 s cpu are used" in one.record.overrides[0].reason
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=11, io=2000)
    assert one.record.limits_in_force.cpu_quota_us is None
    assert one.record.limits_in_force.io_max
    rounds.ahead_ns = 7201 * S
    await rounds.go(engine, one, cpu_s=11, io=2000)
    assert owners(one) == []
    assert sorted(outcomes(engine)) == [("throttle", "done")] * 2 + [("throttle", "undone")] * 2


async def test_a_throttle_holds_when_what_was_narrower_ends_and_widens_nothing(engine, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h:throttle=0.5")
    await rounds.go(engine, one)
    for owner, quota_us in (("policy.x", 20_000), ("boost", 100_000)):
        limits = Limits(cpu_quota_us=quota_us, cpu_period_us=100_000)
        override = LimitOverride(owner=owner, reason="a test", since_ns=1, limits=limits)
        await engine.control.override(one, override)
    await rounds.go(engine, one, cpu_s=11)
    assert one.record.limits_in_force.cpu_quota_us == 20_000
    await engine.control.lift(one, "policy.x")
    assert one.record.limits_in_force.cpu_quota_us == 50_000
    await engine.control.lift(one, "boost")
    assert one.record.limits_in_force.cpu_quota_us == 50_000
    await rounds.go(engine, one, cpu_s=12)
    assert of(engine, one)["state"] == "done"


async def test_a_users_update_ends_a_throttle_for_the_window(engine, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h:throttle=0.5")
    await rounds.go(engine, one, cpu_s=11)
    await engine.control.update(one, Limits(cpu_quota_us=80_000), Conveniences())
    await rounds.go(engine, one, cpu_s=12)
    assert (owners(one), of(engine, one)["state"]) == ([], "given up")
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=12)
    await rounds.go(engine, one, cpu_s=30)
    assert owners(one) == ["budget"]


async def test_a_freeze_lasts_until_the_window_ends_or_its_user_thaws_it(engine, world, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h:freeze")
    await rounds.go(engine, one, cpu_s=11)
    assert one.frozen
    ends_ns = of(engine, one)["ends_ns"]
    assert abs(one.record.outcome.thaw_at_ns - ends_ns) < S
    await engine.control.thaw(one)
    await rounds.go(engine, one, cpu_s=11)
    assert (one.frozen, of(engine, one)["state"]) == (False, "given up")
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=11)
    await rounds.go(engine, one, cpu_s=30)
    assert one.frozen
    await engine.control.update(one, *NOTHING, wishes=Wishes(budget="cpu=60s/1h:stop"))
    await rounds.go(engine, one, cpu_s=30)
    assert not one.frozen, "it has more now"
    assert outcomes(engine)[0] == ("freeze", "undone")
    assert of(engine, one)["state"] == "within"


async def test_a_freeze_may_end_by_itself_at_that_very_moment(engine, rounds, monkeypatch):
    one = await started(engine, "one", budget="cpu=10s/1h:freeze")
    await rounds.go(engine, one, cpu_s=11)
    thaw = engine.control.thaw

    async def thaws_a_moment_later(container, by):
        await thaw(container, by="time")
        await thaw(container, by=by)

    monkeypatch.setattr(engine.control, "thaw", thaws_a_moment_later)
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=11)
    assert sorted(outcomes(engine)) == [("freeze", "done"), ("freeze", "undone")]


async def test_two_that_freeze_are_no_failure(engine, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h:freeze,io=1k/2h:freeze")
    await rounds.go(engine, one, cpu_s=11, io=2000)
    assert outcomes(engine) == [("freeze", "done")]
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=11, io=2000)
    await rounds.go(engine, one, cpu_s=11, io=2000)
    assert one.frozen
    assert of(engine, one, "io")["state"] == "done"


async def test_what_it_stopped_it_starts_again(engine, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h:stop")
    await rounds.go(engine, one, cpu_s=11)
    assert one.record.outcome.status == "exited"
    await rounds.go(engine, one, cpu_s=11)
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, one, cpu_s=11)
    assert one.running
    await rounds.go(engine, one, cpu_s=12)
    assert not one.running
    await engine.lifecycle.start(one)
    await rounds.go(engine, one, cpu_s=12)
    assert (one.running, of(engine, one)["state"]) == (True, "given up")


@pytest.mark.parametrize("action", ["throttle=0.5", "freeze", "stop"])
async def test_a_crash_before_or_after_the_act_leaves_no_doubt(world, rounds, action):
    async with world.agent() as engine:
        one = await started(engine, "one", budget=f"cpu=10s/1h:{action}")
        account = engine.budgeting._accounts.get(f"container:{one.id}")
        account.meters["cpu"].used = 11 * S
        account.meters["cpu"].phase, account.meters["cpu"].acted = "acting", action.split("=")[0]
        account.is_unsaved = True
    for _ in range(2):  # the second one has died when all was done, but not noted
        async with world.agent() as engine:
            one = engine.containers.find("one")
            await rounds.go(engine, one)
            is_done = {"throttle=0.5": bool(owners(one)), "freeze": one.frozen}
            assert is_done.get(action, not one.running)
            assert of(engine, one)["state"] == "done"
            account = engine.budgeting._accounts.get(f"container:{one.id}")
            account.meters["cpu"].phase, account.is_unsaved = "acting", True
    async with world.agent() as engine:
        one = engine.containers.find("one")
        await engine.control.update(one, *NOTHING, wishes=Wishes(budget="off"))
        await rounds.go(engine, one)
        assert (owners(one), one.frozen, one.running) == ([], False, True)
        assert engine.budgeting._accounts._rows.all() == {}


async def test_what_was_used_before_it_was_asked_for_is_not_counted(engine, rounds):
    one = await started(engine, "one")
    await engine.control.update(one, *NOTHING, wishes=Wishes(budget="cpu=10s/1h"))
    await rounds.go(engine, one, cpu_s=100)
    await rounds.go(engine, one, cpu_s=101)
    assert of(engine, one)["used"] == S
    await engine.control.update(one, *NOTHING, wishes=Wishes(budget="cpu=20s/1h,io=1g/1d"))
    await rounds.go(engine, one, cpu_s=102, io=7)
    assert (of(engine, one)["used"], of(engine, one, "io")["used"]) == (2 * S, 0)


async def test_an_override_without_an_account_is_lifted(engine, rounds):
    one = await started(engine, "one", budget="cpu=10s/1h:throttle=0.5")
    await rounds.go(engine, one, cpu_s=11)
    engine.budgeting._accounts.close(f"container:{one.id}")
    engine.containers.save(one, replace(one.record, config=replace(one.record.config, budget="")))
    await rounds.go(engine, one, cpu_s=11)
    assert owners(one) == []


async def test_a_network_that_is_not_its_own_has_no_budget(engine):
    host = (EndpointSpec(network="host"),)
    with pytest.raises(InvalidInputError, match="no network interfaces of its own"):
        await started(engine, "one", budget="net=1g/1d", networks=host)
    one = await started(engine, "one", networks=host)
    with pytest.raises(InvalidInputError, match="no network interfaces of its own"):
        await engine.control.update(one, *NOTHING, wishes=Wishes(budget="net=1g/1d"))


async def test_what_is_removed_once_it_is_stopped_is_not_stopped(engine):
    with pytest.raises(InvalidInputError, match="with --rm it would be gone"):
        await started(engine, "one", budget="cpu=1s/1d:stop", auto_remove=True)
    one = await started(engine, "one", budget="cpu=1s/1d:freeze", auto_remove=True)
    with pytest.raises(InvalidInputError, match="with --rm it would be gone"):
        await engine.control.update(one, *NOTHING, wishes=Wishes(budget="cpu=1s/1d:stop"))


async def test_damaged_accounts_are_begun_anew(caplog):
    rows = SimpleNamespace(all=lambda: {"container:a": "{}"}, delete=lambda _: None)
    found = accounts.Accounts(rows)
    found.load(["container:a"])
    assert found.get("container:a") is None
    assert "begun anew" in caplog.text
