"""Budgets: counted over restarts of container and agent, acted on when spent, undone in time."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Cpu, DeviceIo, Limits, Memory, Pids, Pressure, Usage
from cgagent.engine.groups.grouping import Change
from cgagent.engine.observe.policies import Tick
from cgagent.engine.observe.watched import target_of
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.networking import EndpointSpec
from cgagent.engine.options.overrides import LimitOverride
from cgagent.engine.options.wishes import Wishes
from cgagent.engine.policies import accounts, budgeting, spending
from cgagent.errors import ConflictError, InvalidInputError
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

    def sample(self, target, cpu_s=0.0, io=0, net=0):
        self.number = max(self.number + 1, time.monotonic_ns())
        usage = Usage(
            cpu=Cpu(usage_ns=int(cpu_s * S)),
            memory=Memory(),
            io=(DeviceIo(device="8:0", rbytes=io),),
            pids=Pids(),
            pressure=Pressure(),
            frozen=False,
        )
        eth0 = Interface("eth0", net, *[0] * 7)
        return Sample(target, 0.0, self.number, self.number, usage, Limits(), (eth0,))

    async def go(self, engine, one, count=2, **used):
        """`one` is a container, or the name of a group."""
        engine.policies.stop()  # there are no rounds but ours
        engine.monitor.last_sampled = lambda _: None
        path = engine.container_groups.path(one) if isinstance(one, str) else None
        sample = self.sample(target_of(path) if path else of_container(one), **used)
        engine.budgeting._subjects.used = lambda _: sample.usage
        for _ in range(count):
            tick = Tick({sample.target.id: sample}.get, lambda _: None, frozenset())
            engine.budgeting.ticked(tick)
            await until(lambda: not engine.budgeting._work)


@pytest.fixture
def rounds(monkeypatch):
    return Rounds(monkeypatch)


def of_container(container):
    started_s = (container.record.outcome.started_ns or 0) / 1e9
    return Target(container.id, container.name, "", "/", started_s)


def of(engine, one, resource="cpu"):
    is_group = isinstance(one, str)
    id_ = f"cgroup:{engine.container_groups.path(one)}" if is_group else one.id
    return next(v for v in engine.budgeting.view(id_) if v["resource"] == resource)


def outcomes(engine):
    return [(d.action, d.outcome) for d in engine.rulesets.decisions.page(20, policy="budget")]


def owners(container):
    return [o.owner for o in container.record.overrides]


async def test_it_counts_over_restarts_of_container_and_agent(world, rounds):
    async with world.agent() as engine:
        one = await started(engine, "one", budget="cpu=10s/1h,io=1g/1h,net=1g/1h")
        await rounds.go(engine, one, cpu_s=2, io=100, net=50)
        engine.budgeting.sampled(rounds.sample(of_container(one), cpu_s=3))
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


# -- of groups ------------------------------------------------------------------------------


async def team(engine, budget, name="team"):
    return await engine.grouping.create(name, *NOTHING, budget=budget)


def found(engine, name="team"):
    return engine.container_groups.find(name)


async def ask(engine, name="team", **wanted):
    limits = wanted.pop("limits", Limits())
    await engine.grouping.update(name, Change(limits=limits, extra=Conveniences(), **wanted))


async def test_of_a_group_it_counts_whoever_comes_and_goes(world, rounds):
    """Also over an agent's death, and where the cgroup is made again; what falls is no use."""
    async with world.agent() as engine:
        await team(engine, "")
        path = engine.container_groups.path("team")
        world.tree.say(path, "cpu.stat", "usage_usec 2000000\nuser_usec 0\nsystem_usec 0\n")
        await ask(engine, budget="cpu=10s/1h,io=1g/1h")
        await asyncio.sleep(0)
        await rounds.go(engine, "team", cpu_s=2, io=500)
        assert of(engine, "team")["used"] == 0, "that was before anybody asked"
        one = await started(engine, "one", group="team")
        await rounds.go(engine, "team", cpu_s=3, io=700)
        await engine.lifecycle.remove(one, force=True)
        await rounds.go(engine, "team", cpu_s=3, io=600)
        await rounds.go(engine, "team", cpu_s=3, io=650)
        assert [v["used"] for v in engine.budgeting.view(group_id(engine))] == [S, 750]
        await started(engine, "two", group="team")
    async with world.agent() as engine:
        await rounds.go(engine, "team", cpu_s=4, io=650)
        assert of(engine, "team")["used"] == 2 * S
        await engine.lifecycle.remove(engine.containers.find("two"), force=True)
    async with world.agent() as engine:  # the cgroup has gone with the last agent
        await started(engine, "three", group="team")
        await rounds.go(engine, "team")
        await rounds.go(engine, "team", cpu_s=5)
        assert of(engine, "team")["used"] == 7 * S
        (use, _) = engine.budgeting.uses(group_id(engine))
        assert (use.resource, use.used_ratio) == ("cpu", 0.7)
        await engine.grouping.remove("team", force=True)
        assert engine.budgeting._accounts._rows.all() == {}


def group_id(engine, name="team"):
    return target_of(engine.container_groups.path(name)).id


def test_a_cgroup_of_which_a_part_was_made_again_is_the_same():
    account = accounts.Account("group:team")
    begun = []
    for at_s, cgroup in enumerate(({"b /x": 1, "b /y": 2}, {"b /x": 1, "b /y": 3}, {"c /x": 1}), 1):
        account.is_of(cgroup, at_s * S)
        begun.append(account.run_s)
    assert begun == [1, 1, 3], "the last is of another boot"
    assert accounts.Account.of("group:team", account.document()).cgroup == {"c /x": 1}


async def test_of_a_group_a_throttle_is_an_override_of_its_own(engine, world, rounds):
    await team(engine, "cpu=10s/1h:throttle=0.5")
    path = engine.container_groups.path("team")
    await rounds.go(engine, "team")
    await rounds.go(engine, "team", cpu_s=11)
    assert world.tree.held(path, "cpu.max") == "50000 100000"
    (override,) = found(engine).overrides
    assert (override.owner, found(engine).limits) == ("budget", Limits())
    assert "11 s of 10 s cpu are used" in override.reason
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, "team", cpu_s=11)
    assert (found(engine).overrides, world.tree.held(path, "cpu.max")) == ((), "max 100000")
    await rounds.go(engine, "team", cpu_s=30)
    await ask(engine, limits=Limits(cpu_quota_us=80_000))
    await rounds.go(engine, "team", cpu_s=31)
    assert (found(engine).overrides, of(engine, "team")["state"]) == ((), "given up")
    assert world.tree.held(path, "cpu.max") == "80000 100000"
    assert outcomes(engine)[::-1] == [
        *(("throttle", "done"), ("throttle", "undone")),
        *(("throttle", "done"), ("throttle", "given up")),
    ]


async def test_of_a_group_a_freeze_ends_with_the_window_or_by_its_user(engine, world, rounds):
    await team(engine, "cpu=10s/1h:freeze")
    one = await started(engine, "one", group="team")
    await rounds.go(engine, "team")
    await rounds.go(engine, "team", cpu_s=11)
    assert one.frozen
    assert abs(found(engine).thaw_at_ns - of(engine, "team")["ends_ns"]) < S
    rounds.ahead_ns = 3601 * S
    await rounds.go(engine, "team", cpu_s=11)
    assert (one.frozen, found(engine).thaw_at_ns) == (False, None)
    await rounds.go(engine, "team", cpu_s=30)
    await engine.whole_groups.freezing.thaw("team")
    await rounds.go(engine, "team", cpu_s=31)
    assert (one.frozen, of(engine, "team")["state"]) == (False, "given up")


async def test_of_a_group_a_stop_keeps_all_from_running_until_the_window_ends(world, rounds):
    async with world.agent() as engine:
        await team(engine, "cpu=10s/1h:stop")
        await started(engine, "one", group="team")
        await engine.lifecycle.stop(await started(engine, "idle", group="team"), 0)
        await rounds.go(engine, "team")
        await rounds.go(engine, "team", cpu_s=11)
        one = engine.containers.find("one")
        assert not one.running
        code = one.record.outcome.exit_code
        with pytest.raises(ConflictError, match="team has spent its budget, and nothing starts"):
            await engine.lifecycle.start(one)
        assert (one.record.outcome.exit_code, one.record.outcome.error) == (code, None)
        with pytest.raises(ConflictError, match="has spent its budget"):
            await started(engine, "new", group="team")
        out = await started(engine, "out")
        with pytest.raises(ConflictError, match="has spent its budget"):
            await engine.moving.move(out, "team")
    async with world.agent() as engine:
        rounds.ahead_ns = 3601 * S
        await rounds.go(engine, "team")
        running = {c.name for c in engine.containers if c.running}
        assert running == {"one", "out"}
        group = found(engine)
        assert (group.stopped, group.stopped_until_ns) == ((), None)


async def test_of_a_group_what_a_budget_of_its_own_has_stopped_stays_so(engine, rounds):
    """Both have stopped it, and that of the group ends first."""
    await team(engine, "cpu=10s/1h:stop")
    one = await started(engine, "one", group="team", budget="cpu=10s/2h:stop")
    ending = engine.whole_groups.ending
    await ending.stop_until("team", rounds.now_ns() + 3600 * S)
    account = engine.budgeting._accounts.get(f"container:{one.id}")
    meter = account.meters["cpu"]
    meter.used, meter.phase, meter.acted = 11 * S, "done", "stop"
    await ending.start_again("team")
    assert (one.running, of(engine, one)["state"]) == (False, "done")
    rounds.ahead_ns = 7201 * S
    await rounds.go(engine, one)
    assert one.running


async def test_an_account_of_one_that_is_gone_is_not_kept_again(engine, rounds):
    await team(engine, "cpu=10s/1h")
    await rounds.go(engine, "team", cpu_s=3)
    kept = engine.budgeting._accounts
    account = kept.get("group:team")
    await engine.grouping.remove("team")
    account.is_unsaved = True
    kept.save(account)
    assert kept._rows.all() == {}


async def test_of_a_group_more_budget_or_none_ends_what_is_done(engine, rounds):
    await team(engine, "cpu=10s/1h:stop")
    one = await started(engine, "one", group="team")
    await rounds.go(engine, "team")
    await rounds.go(engine, "team", cpu_s=11)
    assert not one.running
    await ask(engine, budget="off")
    await rounds.go(engine, "team", cpu_s=11)
    assert one.running
    assert engine.budgeting.view(group_id(engine)) == []


@pytest.mark.parametrize("action", ["throttle=0.5", "freeze", "stop"])
async def test_of_a_group_a_crash_amid_the_act_leaves_no_doubt(world, rounds, action):
    async with world.agent() as engine:
        await team(engine, f"cpu=10s/1h:{action}")
        await started(engine, "one", group="team")
        account = engine.budgeting._accounts.get("group:team")
        meter = account.meters["cpu"]
        meter.used, meter.phase, meter.acted = 11 * S, "acting", action.split("=")[0]
        account.is_unsaved = True
    for _ in range(2):  # the second one has died when all was done, but not noted
        async with world.agent() as engine:
            await rounds.go(engine, "team")
            group, one = found(engine), engine.containers.find("one")
            is_done = {"throttle=0.5": bool(group.overrides), "freeze": one.frozen}
            assert is_done.get(action, not one.running)
            assert of(engine, "team")["state"] == "done"
            account = engine.budgeting._accounts.get("group:team")
            account.meters["cpu"].phase, account.is_unsaved = "acting", True
    async with world.agent() as engine:
        engine.budgeting._accounts.close("group:team")  # its row is lost
        engine.container_groups.save(replace(found(engine), budget=""))
        if action == "freeze":
            await engine.whole_groups.freezing.thaw("team")
        await rounds.go(engine, "team")
        group, one = found(engine), engine.containers.find("one")
        assert (group.overrides, group.stopped_until_ns, one.running) == ((), None, True)


async def test_of_a_group_traffic_is_what_its_containers_have_sent_while_in_it(engine, rounds):
    async def passes(**sent):
        samples = {}
        for name, amount in sent.items():
            container = engine.containers.find(name)
            samples[container.id] = rounds.sample(of_container(container), net=amount)
        engine.budgeting.ticked(Tick(samples.get, lambda _: None, frozenset()))
        await until(lambda: not engine.budgeting._work)
        return of(engine, "team", "net")["used"]

    engine.policies.stop()
    engine.monitor.last_sampled = lambda _: None
    await team(engine, "net=1k/1h:freeze")
    assert await passes() == 0
    one, host = [await started(engine, n, group="team", **more) for n, more in HERE.items()]
    assert await passes(one=100, host=5000) == 100
    out = await started(engine, "out")
    begun = one.record.outcome.started_ns - 100 * S
    engine.containers.note(out, out.with_outcome(started_ns=begun))
    await engine.moving.move(out, "team")
    assert await passes(one=150, out=500) == 150, "what it had sent before is not the group's"
    assert await passes(one=150, out=600) == 250
    engine.budgeting.sampled(rounds.sample(of_container(out), net=700))
    await asyncio.sleep(0)
    assert of(engine, "team", "net")["used"] == 350, "the last it sends is counted"
    await engine.lifecycle.remove(out, force=True)
    assert await passes(one=200) == 400
    await engine.lifecycle.restart(one, 0)
    assert await passes(one=900) == 1300, "another run begins with 0"
    assert one.frozen
    assert host.frozen
    with pytest.raises(InvalidInputError, match="no network interfaces that could be throttled"):
        await ask(engine, budget="net=1g/1d:throttle=1m")


HERE = {"one": {}, "host": {"networks": (EndpointSpec(network="host"),)}}
