"""Rulesets at work on the real engine: what is done at which round, undone, and left to nobody."""

import asyncio
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Cpu, DeviceIo, Limits, Memory, Pids, Pressure, Psi, Stall, Usage
from cgagent.engine.groups.grouping import Change
from cgagent.engine.observe.policies import Tick
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import LimitOverride
from cgagent.engine.options.restart import RestartPolicy
from cgagent.engine.policies import limiting, sources, webhooks
from cgagent.engine.policies.targets import HOST
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.metrics import Sample, Target
from cgagent.policy.facts import Facts, HostFacts
from cgagent.policy.rulesets.parse import rulesets
from cgagent.store.policies import RulesetRow
from tests.world.fakes.agent import started, until

pytestmark = pytest.mark.anyio
NOTHING = Conveniences()
WEIGHT = {"action": "weight", "cpu": 5}
FREEZE = {"action": "freeze", "for": "20s", "after": "10s"}
KILL = {"action": "kill", "after": "20s"}


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, which stands still until it is told to go on."""
    found = SimpleNamespace(now=1000.0)
    patched = SimpleNamespace(
        monotonic=lambda: found.now, localtime=time.localtime, time_ns=time.time_ns
    )
    monkeypatch.setattr(sources, "time", patched)
    from cgagent.engine.policies import carrying

    monkeypatch.setattr(carrying, "time", patched)
    return found


def sample(container, *, pressure=0.0, memory=4096, io=()):
    stall = Stall(avg10=pressure, avg60=pressure, avg300=0.0, total_ns=0)
    psi = None if pressure is None else Psi(some=stall, full=stall)
    usage = Usage(
        cpu=Cpu(usage_ns=1),
        memory=Memory(current_bytes=memory),
        io=io,
        pids=Pids(current=1),
        pressure=Pressure(memory=psi),
        frozen=False,
    )
    path = container if isinstance(container, str) else container.record.cgroup_path
    id_ = f"cgroup:{path}" if isinstance(container, str) else container.id
    target = Target(id_, "", "", path, 0.0)
    return Sample(target, 0.0, 1, 1, usage, Limits())


class Rounds:
    def __init__(self, engine, clock):
        self.rulesets, self.clock = engine.rulesets, clock
        engine.policies.stop()  # there are no rounds but ours
        self.samples = {}
        self.machine = None

    def say(self, container, **figures):
        found = sample(container, **figures)
        self.samples[found.target.id] = found

    async def go(self, seconds=1):
        """So many rounds, a second each; what they bring about is done at its end."""
        for _ in range(seconds):
            fresh = frozenset(self.samples)
            tick = Tick(self.samples.get, lambda _: None, frozenset(), fresh, self.machine)
            self.rulesets.ticked(tick)
            await until(lambda: not self.rulesets._carrying._work)
            self.clock.now += 1


@pytest.fixture
def rounds(engine, clock):
    return Rounds(engine, clock)


def document(name="a", **changes):
    table = {
        "name": name,
        "when": {"detector": "pressure-above", "above": 50},
        "cool-down": "5s",
        "clear-for": "5s",
        "grade": [WEIGHT, FREEZE, KILL],
        **changes,
    }
    return {"ruleset": [table]}


def decided(engine):
    return [(d.action, d.outcome) for d in reversed(engine.rulesets.decisions.page(100))]


def weight(container):
    return container.record.limits_in_force.weight


async def test_grade_after_grade_and_back(engine, world, rounds):
    container = await started(engine, "one")
    await engine.rulesets.add(document())
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    assert weight(container) == 5
    assert world.tree.held(container.record.cgroup_path, "cpu.weight") == "5"
    (override,) = container.record.overrides
    assert override.owner == "policy.a"
    assert override.reason == "container one: memory full 10s pressure 60% (above 50%) for 0 s"
    await rounds.go(9)
    assert not container.frozen
    await rounds.go(1)
    assert container.frozen
    rounds.say(container, pressure=1.0)
    await rounds.go(6)
    assert not container.frozen
    assert weight(container) == 5
    await rounds.go(6)
    assert container.record.overrides == ()
    assert world.tree.held(container.record.cgroup_path, "cpu.weight") == "100"
    assert engine.rulesets.active() == {"a": 0}
    assert decided(engine) == [
        ("weight", "done"),
        ("freeze", "done"),
        ("freeze", "undone"),
        ("weight", "undone"),
    ]
    assert engine.rulesets.decisions.counts == {
        ("a", "weight"): 1,
        ("a", "freeze"): 1,
        ("a", "undo freeze"): 1,
        ("a", "undo weight"): 1,
    }


async def test_it_ends_in_a_kill_of_the_group(engine, world, rounds):
    killed = []
    world.tree.on_kill.append(killed.extend)
    container = await started(engine, "one")
    pid = container.record.outcome.pid
    grades = [WEIGHT, {"action": "kill", "after": "10s"}]
    await engine.rulesets.add(document(grade=grades))
    rounds.say(container, pressure=60.0)
    await rounds.go(10)
    assert killed == []
    await rounds.go(1)
    assert killed == [pid]


async def test_who_takes_most_is_acted_on_and_marks_count(engine, rounds):
    looked_at = await started(engine, "web")
    large = await started(engine, "large")
    small = await started(engine, "small", labels={"cgagent.policy": "prefer"})
    spared = await started(engine, "spared", labels={"cgagent.policy": "omit"})
    against = {"name": "*", "most": "memory"}
    await engine.rulesets.add(document(select={"name": "web"}, against=against, grade=[WEIGHT]))
    rounds.say(looked_at, pressure=60.0, memory=10 << 20)
    for one, size in ((large, 8), (small, 1), (spared, 9)):
        rounds.say(one, memory=size << 20)
    await rounds.go(1)
    assert [weight(c) for c in (small, large, spared, looked_at)] == [5, None, None, None]
    (override,) = small.record.overrides
    assert override.reason.endswith("container small: memory 1MiB")
    await rounds.go(6)  # after the cool-down the next one
    assert [weight(c) for c in (small, large, spared, looked_at)] == [5, 5, None, None]


async def test_a_users_update_wins(engine, world, rounds):
    container = await started(engine, "one")
    await engine.rulesets.add(document(grade=[WEIGHT]))
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    await engine.control.update(container, Limits(cpu_shares=2048), NOTHING)
    assert container.record.overrides == ()
    assert weight(container) == 174
    assert world.tree.held(container.record.cgroup_path, "cpu.weight") == "174"
    await rounds.go(30)
    assert weight(container) == 174
    assert decided(engine) == [("weight", "done"), ("weight", "given up")]
    assert list(engine.rulesets._holds) == []
    rounds.say(container)
    await rounds.go(8)
    rounds.say(container, pressure=60.0)
    await rounds.go(6)
    assert weight(container) == 5, "another time it may be again"


async def test_a_users_update_wins_right_before_the_next_grade(engine, world, rounds):
    container = await started(engine, "one")
    cap = {"action": "cpu-cap", "cpus": 0.5, "after": "10s"}
    await engine.rulesets.add(document(grade=[WEIGHT, cap]))
    rounds.say(container, pressure=60.0)
    await rounds.go(10)
    assert weight(container) == 5
    await engine.control.update(container, Limits(cpu_weight=50), NOTHING)
    await rounds.go(3)
    assert weight(container) == 50
    assert container.record.limits_in_force.cpu_quota_us == 50_000
    assert [hold.action for hold in engine.rulesets._holds] == ["cpu_cap"]


async def test_a_users_update_of_a_part(engine, world, rounds):
    """Of two fields the user takes one: the other is let go of, too, and nothing is left."""
    container = await started(engine, "one")
    await engine.rulesets.add(document(grade=[{"action": "weight", "cpu": 5, "io": 7}]))
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    path = container.record.cgroup_path
    assert world.tree.held(path, "io.weight") == "7"
    await engine.control.update(container, Limits(cpu_weight=50), NOTHING)
    await rounds.go(2)
    assert container.record.overrides == ()
    assert world.tree.held(path, "cpu.weight") == "50"
    assert world.tree.held(path, "io.weight") == "100"


async def test_a_users_thaw_wins(engine, rounds):
    container = await started(engine, "one")
    await engine.rulesets.add(document(grade=[{"action": "freeze", "for": "60s"}]))
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    assert container.frozen
    await engine.control.thaw(container)
    await rounds.go(30)
    assert not container.frozen
    assert decided(engine) == [("freeze", "done"), ("freeze", "given up")]


async def test_a_dry_run_does_nothing(engine, world, rounds):
    container = await started(engine, "one")
    await engine.rulesets.add(document(**{"dry-run": True}))
    rounds.say(container, pressure=60.0)
    await rounds.go(40)
    assert container.running
    assert container.record.overrides == ()
    assert not container.frozen
    assert {outcome for _, outcome in decided(engine)} == {"dry run"}
    assert [action for action, _ in decided(engine)][:3] == ["weight", "freeze", "kill"]


async def test_what_cannot_be_evaluated_is_said_once(engine, rounds):
    container = await started(engine, "one")
    await engine.rulesets.add(document())
    rounds.say(container, pressure=None)
    await rounds.go(5)
    (decision,) = engine.rulesets.decisions.page(9)
    assert decision.outcome == "cannot be evaluated"
    assert "pressure is counted by cgroup2 alone" in decision.reason
    ruleset = engine.rulesets.get("a")
    assert (ruleset.unknown, ruleset.is_known) == (decision.reason, False)
    rounds.say(await started(engine, "two"), pressure=1.0)
    await rounds.go(1)
    assert ruleset.is_known, "of another it can be"
    assert len(engine.rulesets.decisions.page(9)) == 1


async def test_what_is_impossible_is_told_and_the_next_has_its_time(engine, world, rounds):
    container = await started(engine, "one")
    world.tree.refuse("cpu.weight")
    await engine.rulesets.add(document())
    rounds.say(container, pressure=60.0)
    await rounds.go(11)
    assert decided(engine)[0] == ("weight", "failed")
    assert container.frozen
    assert container.record.overrides == ()
    assert [hold.action for hold in engine.rulesets._holds] == ["freeze"]


async def test_io_is_capped_of_the_devices_in_use_and_a_limit_is_raised(engine, world, rounds):
    container = await started(engine, "one")
    await engine.control.update(container, Limits(pids_max=100), NOTHING)
    raises = {"action": "raise", "limit": "pids-max", "by": "50%", "to": 200}
    caps = {"action": "io-cap", "write": "1m"}
    await engine.rulesets.add(document(grade=[caps, raises]))
    rounds.say(container, pressure=60.0, io=(DeviceIo(device="8:0", wbytes=1),))
    await rounds.go(2)
    path = container.record.cgroup_path
    assert world.tree.held(path, "io.max").startswith("8:0 ")
    assert "wbps=1048576" in world.tree.held(path, "io.max")
    await rounds.go(30)
    assert world.tree.held(path, "pids.max") == "200"
    rounds.say(container)
    await rounds.go(20)
    assert container.record.overrides == ()
    assert world.tree.held(path, "pids.max") == "100"


async def test_groups_of_the_host(engine, world, rounds):
    deep = "/other/d\udcff\xf6p"  # a name that is not UTF-8
    world.tree.make(deep, 6_000_000)
    grades = [WEIGHT, {"action": "freeze", "for": "20s"}]
    await engine.rulesets.add(document(select={"cgroup": "/other/*"}, grade=grades))
    assert [rule.parts for rule in engine.monitor._watched._rules] == [["other", "*"]]
    rounds.say(deep, pressure=60.0)
    await rounds.go(2)
    assert world.tree.held(deep, "cpu.weight") == "5"
    assert world.tree.held(deep, "cgroup.freeze") == "1"
    rows = engine.rulesets._catalogue._rows.holds()
    assert [row.victim for row in rows] == [f"cgroup:{deep}"] * 2
    await engine.rulesets.remove("a")
    assert world.tree.held(deep, "cpu.weight") == "100"
    assert world.tree.held(deep, "cgroup.freeze") == "0"
    assert engine.monitor._watched._rules == []
    world.tree.leave(6_000_000)
    made = engine.rulesets.decisions.page(9)
    assert {one.target for one in made} == {"/other/d\\xff\xf6p"}
    assert [one.outcome for one in made] == ["undone", "undone", "done", "done"]


async def test_of_groups_each_undoes_its_own_in_any_order(engine, world, rounds):
    """Of two rulesets the one that was first ends first; a third value is another's, and stays."""
    world.tree.make("/other/deep")
    for name, cpu in (("a", 50), ("b", 10)):
        grades = [{"action": "weight", "cpu": cpu}]
        await engine.rulesets.add(document(name, select={"cgroup": "/other/*"}, grade=grades))
        rounds.say("/other/deep", pressure=60.0)
        await rounds.go(1)
    assert world.tree.held("/other/deep", "cpu.weight") == "10"
    await engine.rulesets.remove("a")
    assert world.tree.held("/other/deep", "cpu.weight") == "10", "b is still at it"
    await engine.rulesets.remove("b")
    assert world.tree.held("/other/deep", "cpu.weight") == "100"
    await engine.rulesets.add(document(select={"cgroup": "/other/*"}))
    await rounds.go(1)
    await engine.groups.change("/other/deep", Limits(cpu_weight=30), NOTHING, force=True)
    await engine.rulesets.remove("a")
    assert world.tree.held("/other/deep", "cpu.weight") == "30"


async def test_a_group_that_another_has_frozen_stays_frozen(engine, world, rounds):
    world.tree.make("/other", 6_000_001)
    await engine.groups.act("/other", "freeze", force=True, timeout_s=1)
    grades = [{"action": "freeze", "for": "20s"}]
    await engine.rulesets.add(document(select={"cgroup": "/other"}, grade=grades))
    rounds.say("/other", pressure=60.0)
    await rounds.go(2)
    assert decided(engine) == [("freeze", "failed")]
    await engine.rulesets.remove("a")
    assert world.tree.held("/other", "cgroup.freeze") == "1"
    world.tree.leave(6_000_001)


async def test_of_the_host_one_is_told(engine, rounds, monkeypatch):
    """Free swap is below its bound for some seconds: an event, and an address is told."""
    posted = []

    async def post(url, body):
        posted.append((url, body))

    monkeypatch.setattr(webhooks, "post", post)
    when = {"detector": "memory-free-below", "below": "10%", "for": "2s"}
    grades = [{"action": "event"}, {"action": "webhook", "url": "http://localhost/x"}]
    await engine.rulesets.add(document(select={"host": True}, when=when, grade=grades))
    rounds.machine = SimpleNamespace(
        memory_total_bytes=100,
        memory_available_bytes=9,
        swap_total_bytes=0,
        swap_free_bytes=0,
        cpu_cores=1,
    )
    await rounds.go(30)
    assert decided(engine) == [("event", "done"), ("webhook", "done")]
    ((url, body),) = posted
    assert url == "http://localhost/x"
    assert body["target"] == "the host"
    assert "memory of the host that can be had 9% (below 10%) for 3 s" in body["reason"]


async def test_a_group_with_the_agent_in_it_is_not_ended(engine, world, rounds):
    world.tree.make("/other", os.getpid())
    freeze = {"action": "freeze", "for": "20s"}
    grades = [freeze, {"action": "kill"}]
    await engine.rulesets.add(document(select={"cgroup": "/other"}, grade=grades))
    rounds.say("/other", pressure=60.0)
    await rounds.go(3)
    assert decided(engine) == [("freeze", "failed"), ("kill", "failed")]
    assert "the agent itself" in engine.rulesets.decisions.page(1)[0].reason
    assert world.tree.held("/other", "cgroup.procs") == str(os.getpid())
    world.tree.leave(os.getpid())


async def test_a_reason_has_an_end(engine):
    engine.rulesets.decisions.note(
        *("a", "the host", "event", None), outcome="done", reason="x" * 9999
    )
    assert len(engine.rulesets.decisions.page(1)[0].reason) == 2000


async def test_the_next_agent_goes_on(world, clock):
    async with world.agent() as engine:
        container = await started(engine, "one")
        await engine.rulesets.add(document(grade=[WEIGHT]))
        rounds = Rounds(engine, clock)
        rounds.say(container, pressure=60.0)
        await rounds.go(1)
        assert weight(container) == 5
    async with world.agent() as engine:
        container = engine.containers.find("one")
        assert weight(container) == 5
        assert engine.rulesets.active() == {"a": 1}
        rounds = Rounds(engine, clock)
        rounds.say(container)
        await rounds.go(7)
        assert container.record.overrides == ()


async def test_nothing_is_left_without_an_owner(world, clock):
    """An override without a row, a row without an override, and a row without its ruleset."""
    async with world.agent() as engine:
        container = await started(engine, "one")
        for name in "abc":
            await engine.rulesets.add(document(name, grade=[WEIGHT]))
        rounds = Rounds(engine, clock)
        rounds.say(container, pressure=60.0)
        await rounds.go(1)
        assert [o.owner for o in container.record.overrides] == ["policy.a"]
        assert decided(engine).count(("weight", "failed")) == 2, "it is as low already"
        rows = engine.rulesets._catalogue._rows
        (hold,) = engine.rulesets._holds
        rows.let_go(hold.row())  # a: the override has no row
        second = engine.rulesets._holds.put(
            type(hold)(
                policy="b",
                watched=hold.watched,
                step=hold.step,
                action="weight",
                limits=hold.limits,
            )
        )  # b: a row of what has not come about
        assert second.policy == "b"
    async with world.agent() as engine:
        container = engine.containers.find("one")
        assert container.record.overrides == ()
        assert list(engine.rulesets._holds) == []
        rounds = Rounds(engine, clock)
        rounds.say(container, pressure=60.0)
        await rounds.go(1)
        engine.rulesets._catalogue.forget("a")
    async with world.agent() as engine:
        assert engine.containers.find("one").record.overrides == ()
        assert [one.rules.name for one in engine.rulesets.all()] == ["b", "c"]


async def test_a_container_that_its_user_stops_is_not_started_again(engine, rounds):
    container = await started(engine, "one")
    await engine.rulesets.add(document(grade=[{"action": "restart"}]))
    restart = replace(container.record.restart, held=True)  # as of a stop that is under way
    engine.containers.note(container, replace(container.record, restart=restart))
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    assert decided(engine) == [("restart", "failed")]


async def test_a_fault_of_ours_leaves_nothing_behind(engine, rounds, monkeypatch):
    container = await started(engine, "one")
    await engine.rulesets.add(document(grade=[WEIGHT]))
    rounds.say(container, pressure=60.0)
    with monkeypatch.context() as patch:
        patch.setattr(engine.rulesets.decisions, "note", lambda *_, **__: 1 / 0)
        await rounds.go(1)
    assert weight(container) == 5
    rounds.say(container)
    await rounds.go(8)
    assert container.record.overrides == ()
    assert list(engine.rulesets._holds) == []


async def test_requests_at_once(engine, rounds):
    """While one lets go of a container the other waits: what is at work has its row."""
    container = await started(engine, "one")
    await engine.rulesets.add(document(grade=[WEIGHT]))
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    assert weight(container) == 5
    replacing = engine.rulesets.add(document(), replace=True)
    await asyncio.gather(engine.rulesets.remove("a"), replacing)
    assert [one.rules.name for one in engine.rulesets.all()] == ["a"]
    assert [row.name for row in engine.rulesets._catalogue._rows.rulesets()] == ["a"]


async def test_a_ruleset_of_another_version_keeps_no_agent_from_starting(world):
    async with world.agent() as engine:
        await engine.rulesets.add(document())
        rows = engine.rulesets._catalogue._rows
        rows.put([RulesetRow(name="b", document='{"name": "b"}', created_ns=1)])
    async with world.agent() as engine:
        assert [one.rules.name for one in engine.rulesets.all()] == ["a"]
        await engine.rulesets.add(document("b"))


async def test_added_replaced_and_removed(engine, world):
    await engine.rulesets.add(document())
    with pytest.raises(ConflictError, match="policy a exists already"):
        await engine.rulesets.add(document())
    await engine.rulesets.add(document(description="another"), replace=True)
    assert engine.rulesets.get("a").rules.description == "another"
    with pytest.raises(InvalidInputError):
        await engine.rulesets.add({"ruleset": [document()["ruleset"][0], {"name": "b"}]})
    await engine.rulesets.remove("a")
    with pytest.raises(NotFoundError, match="policy 'a' does not exist"):
        await engine.rulesets.remove("a")


async def test_files_of_the_settings(world, tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "one.toml").write_text(
        '[[ruleset]]\nname = "a"\nwhen = {detector = "idle", for = "10m"}\n'
        'grade = [{action = "freeze", for = "1m"}]\n'
    )
    async with world.agent(policies=folder) as engine:
        (found,) = engine.rulesets.all()
        assert found.origin.endswith("one.toml")
        for change in (engine.rulesets.remove("a"), engine.rulesets.add(document(), replace=True)):
            with pytest.raises(ConflictError, match=r"policy a is in .*one\.toml"):
                await change
    (folder / "two.toml").write_text("[[ruleset")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        async with world.agent(policies=folder):
            pass


async def test_at_rest_little_is_looked_at(engine, rounds):
    """A ruleset that selects nothing that has new figures asks for none."""
    container = await started(engine, "one")
    (ruleset,) = await engine.rulesets.add(document())
    rounds.say(container)
    await rounds.go(1)
    assert [one.id for one in engine.rulesets.watched(ruleset)] == [container.id]
    asked = []
    tick = Tick(asked.append, asked.append, frozenset(), frozenset(), None)
    engine.rulesets.ticked(tick)
    await asyncio.sleep(0)
    assert asked == []
    assert container.running
    await engine.lifecycle.stop(container, 0)
    assert engine.rulesets.watched(ruleset) == [], "who has ended is not there"
    rounds.clock.now += 60
    await rounds.go(1)
    assert ruleset.watched == {}, "and is forgotten"


async def test_what_is_as_it_was_is_not_evaluated_again(engine, rounds, monkeypatch):
    container = await started(engine, "one")
    await engine.rulesets.add(document())
    rounds.say(container)
    await rounds.go(1)
    asked, plain = [], engine.rulesets.sources.of
    monkeypatch.setattr(
        engine.rulesets.sources, "of", lambda target: asked.append(target) or plain(target)
    )
    await rounds.go(3)
    assert asked == []
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    assert weight(container) == 5


async def test_the_host_is_looked_at_also_where_the_sample_of_its_root_stays(
    engine, rounds, monkeypatch, tmp_path
):
    rest = "avg60=0.00 avg300=0.00 total=0"
    line = f"some avg10={{0}} {rest}\nfull avg10={{0}} {rest}"
    monkeypatch.setattr(sources, "_PRESSURE", str(tmp_path))
    (tmp_path / "memory").write_text(line.format("0.00"))
    await engine.rulesets.add(document(select={"host": True}, grade=[{"action": "event"}]))
    rounds.say("/")
    await rounds.go(2)
    assert decided(engine) == []
    (tmp_path / "memory").write_text(line.format("60.00"))
    await rounds.go(1)
    assert decided(engine) == [("event", "done")]


async def test_what_the_sample_does_not_say_is_looked_at_all_the_same(engine, rounds):
    """The time of day, memory of the host and budgets, while the container's sample stays."""
    container = await started(engine, "one")
    when = [
        {"detector": "schedule", "during": "08:00-09:00"},
        {"detector": "memory-free-below", "below": "10%"},
        {"detector": "budget-above", "above": 50},
    ]
    for number, one in enumerate(when):
        grade = [{"action": "event"}]
        await engine.rulesets.add(document(f"r{number}", when=one, grade=grade))
    used, hour = {}, [7]
    engine.rulesets.sources.budgets = lambda _: used
    sources.time.localtime = lambda: SimpleNamespace(tm_hour=hour[0], tm_min=30, tm_wday=0)

    def memory(free):
        rounds.machine = SimpleNamespace(
            memory_total_bytes=100,
            memory_available_bytes=free,
            swap_total_bytes=0,
            swap_free_bytes=0,
            cpu_cores=2,
        )

    def told():
        return sorted(d.policy for d in engine.rulesets.decisions.page(9))

    memory(50)
    rounds.say(container)
    await rounds.go(2)
    assert told() == []
    hour[0] = 8
    await rounds.go(1)
    assert told() == ["r0"]
    memory(5)
    await rounds.go(1)
    assert told() == ["r0", "r1"]
    used["cpu"] = 60.0
    await rounds.go(1)
    assert told() == ["r0", "r1", "r2"]


async def test_who_has_ended_is_no_victim(engine, rounds):
    """It was the largest, and its figures are still known."""
    one, other = [await started(engine, name) for name in ("one", "other")]
    watching = await started(engine, "watching")
    when = {"detector": "pressure-above", "above": 50, "for": "2s"}
    table = document(select={"name": "watching"}, when=when, against={"name": "o*"}, grade=[WEIGHT])
    await engine.rulesets.add(table)
    rounds.say(one, memory=8192)
    rounds.say(other, memory=4096)
    rounds.say(watching, pressure=60.0)
    await rounds.go(1)
    await engine.lifecycle.stop(one, 0)
    await rounds.go(3)
    assert [d.container for d in engine.rulesets.decisions.page(5)] == [other.id]


async def test_the_hosts_figures_are_those_of_each_round(engine, rounds, monkeypatch, tmp_path):
    """What is read of the host is read for a ruleset that looks at it, and with each round."""
    files = {name: tmp_path / name for name in ("diskstats", "memory", "cpu", "io")}
    disk = "8 0 sda {0} 0 0 {1} 0 0 0 0 0 0 0"
    monkeypatch.setattr(sources, "_DISKSTATS", str(files["diskstats"]))
    monkeypatch.setattr(sources, "_PRESSURE", str(tmp_path))

    async def go(pressure, operations, spent_ms):
        line = f"some avg10={pressure} avg60=0.00 avg300=0.00 total=0"
        files["memory"].write_text(f"{line}\n{line.replace('some', 'full')}")
        files["diskstats"].write_text(disk.format(operations, spent_ms))
        await rounds.go(1)
        facts = engine.rulesets.facts(HOST)
        psi = facts.pressure.memory
        return psi.full.avg10, facts.host.io_latency_ms

    def on_host(name, when):
        return document(name, select={"host": True}, when=when, grade=[{"action": "event"}])

    await engine.rulesets.add(on_host("a", {"detector": "pressure-above", "above": 50}))
    assert await go(10.0, 10, 100) == (10.0, None), "nobody looks at the disks"
    await engine.rulesets.add(on_host("b", {"detector": "io-latency-above", "above": "20ms"}))
    assert await go(20.0, 20, 900) == (20.0, 0.0)
    assert await go(60.0, 30, 1000) == (60.0, 10.0)
    assert decided(engine) == [("event", "done")]
    assert await go(5.0, 40, 1300) == (5.0, 30.0)
    assert decided(engine) == [("event", "done")] * 2
    await engine.rulesets.remove("b")
    assert await go(5.0, 50, 9000) == (5.0, None)
    await engine.rulesets.add(on_host("b", {"detector": "io-latency-above", "above": "20ms"}))
    assert await go(5.0, 60, 9999) == (5.0, 0.0), "it is not compared with what was long ago"


async def test_cpus_that_are_online_are_those_of_now(engine, world, rounds, monkeypatch, tmp_path):
    online = tmp_path / "online"
    monkeypatch.setattr(sources, "_ONLINE", str(online))
    container = await started(engine, "one")
    grade = [{"action": "cpuset", "leave": 1}]
    await engine.rulesets.add(document(grade=grade))
    online.write_text("0-7\n")
    rounds.say(container)
    await rounds.go(1)
    online.write_text("0-1\n")
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    (override,) = container.record.overrides
    assert override.limits.cpuset_cpus == "0"


def test_a_weight_of_v1_is_not_made_gentler():
    (grade,) = rulesets(document(grade=[{"action": "weight", "io": 50}]), "test", "/")[0].grades
    facts = Facts(at_s=0.0, host=HostFacts())
    with pytest.raises(ConflictError, match="as low already"):
        limiting.limits(grade, Limits(blkio_weight=11), facts)
    assert limiting.limits(grade, Limits(blkio_weight=100), facts) == Limits(io_weight=50)


# -- groups of containers as one --------------------------------------------------------------

WHOLE = {"group": "team-*", "whole": True}


async def team(engine, name="team-a", **limits):
    await engine.grouping.create(name, Limits(**limits), NOTHING, labels={"tier": "batch"})
    return engine.container_groups.path(name)


def team_now(engine, name="team-a"):
    return engine.container_groups.find(name)


async def test_a_group_is_looked_at_and_acted_on_as_one(engine, world, rounds):
    path = await team(engine)
    one = await started(engine, "one", group="team-a")
    cap = {"action": "cpu-cap", "cpus": 0.5}
    grades = [WEIGHT, cap, FREEZE]
    await engine.rulesets.add(document(select={**WHOLE, "label": "tier=batch"}, grade=grades))
    rounds.say(path, pressure=60.0)
    rounds.say(one, pressure=60.0)
    await rounds.go(2)
    assert (world.tree.held(path, "cpu.weight"), world.tree.held(path, "cpu.max")) == (
        *("5", "50000 100000"),
    )
    (override,) = team_now(engine).overrides
    assert override.owner == "policy.a"
    assert override.reason.startswith("group team-a: memory full 10s pressure 60%")
    assert one.record.overrides == ()
    await rounds.go(10)
    assert one.frozen
    assert team_now(engine).thaw_at_ns is not None
    rounds.say(path)
    await rounds.go(25)
    assert not one.frozen
    assert team_now(engine).overrides == ()
    assert world.tree.held(path, "cpu.max") == "max 100000"
    assert world.tree.held(path, "cpu.weight") == "100"
    assert {d.target for d in engine.rulesets.decisions.page(9)} == {"team-a"}
    assert list(engine.rulesets._holds) == []


async def test_of_a_group_its_user_wins(engine, world, rounds):
    path = await team(engine)
    await engine.rulesets.add(document(select=WHOLE, grade=[WEIGHT, FREEZE]))
    rounds.say(path, pressure=60.0)
    await rounds.go(1)
    change = Change(limits=Limits(cpu_weight=70), extra=NOTHING)
    await engine.grouping.update("team-a", change)
    await rounds.go(11)
    assert (team_now(engine).overrides, world.tree.held(path, "cpu.weight")) == ((), "70")
    await engine.whole_groups.freezing.thaw("team-a")
    await rounds.go(5)
    assert team_now(engine).frozen_since_ns is None
    assert decided(engine)[1:] == [
        *(("weight", "given up"), ("freeze", "done"), ("freeze", "given up")),
    ]


async def test_the_group_that_takes_most_is_ended_and_starts_again(engine, world, rounds):
    killed = []
    world.tree.on_kill.append(killed.extend)
    paths = [await team(engine, name) for name in ("team-a", "team-b")]
    web = await started(engine, "web")
    for name in "ab":
        await started(engine, name, group=f"team-{name}", restart=RestartPolicy("always"))
    pid = engine.containers.find("b").record.outcome.pid
    kill = [{"action": "kill"}]
    await engine.rulesets.add(document(select={"name": "web"}, against=WHOLE, grade=kill))
    rounds.say(web, pressure=60.0)
    for path, size in zip(paths, (1, 2), strict=True):
        rounds.say(path, memory=size << 20)
    await rounds.go(1)
    assert killed == [pid]
    assert engine.rulesets.decisions.page(1)[0].reason.endswith("group team-b: memory 2MiB")


async def test_for_the_sake_of_what_is_in_a_group_nothing_is_done_to_it(engine, rounds):
    paths = [await team(engine, name) for name in ("team-a", "team-a/low", "team-b")]
    web = await started(engine, "web", group="team-a/low")
    await engine.rulesets.add(document(select={"name": "web"}, against=WHOLE, grade=[WEIGHT]))
    rounds.say(web, pressure=60.0)
    for path, size in zip(paths, (9, 8, 1), strict=True):
        rounds.say(path, memory=size << 20)
    await rounds.go(1)
    assert [d.target for d in engine.rulesets.decisions.page(9)] == ["team-b"]


@pytest.mark.parametrize("inside", ["a container", "a group"])
async def test_a_group_is_spared_for_what_is_in_it(engine, rounds, inside):
    await team(engine)
    label = {"cgagent.policy": "omit"}
    if inside == "a group":
        await engine.grouping.create("team-a/low", Limits(), NOTHING, labels=label)
    own = label if inside == "a container" else {}
    spared = await started(engine, "spared", group="team-a", labels=own)
    web = await started(engine, "web")
    freeze = [{"action": "freeze", "for": "20s"}]
    await engine.rulesets.add(document(select={"name": "web"}, against=WHOLE, grade=freeze))
    rounds.say(web, pressure=60.0)
    rounds.say(engine.container_groups.path("team-a"))
    await rounds.go(3)
    assert not spared.frozen
    assert decided(engine) == []


async def test_a_frozen_group_stays_frozen_when_it_is_ended(engine, world, rounds):
    """A kill thaws the freezer of v1."""
    path = await team(engine)
    await started(engine, "one", group="team-a")
    await engine.whole_groups.freezing.freeze("team-a")
    world.tree.on_kill.append(lambda _: world.tree.say(path, "cgroup.freeze", "0"))
    await engine.rulesets.add(document(select=WHOLE, grade=[{"action": "kill"}]))
    rounds.say(path, pressure=60.0)
    await rounds.go(1)
    assert decided(engine) == [("kill", "done")]
    assert world.tree.held(path, "cgroup.freeze") == "1"


async def test_a_limit_of_a_group_is_raised_and_of_two_grades_one_is_undone(engine, world, rounds):
    path = await team(engine, pids_max=100)
    raises = {"action": "raise", "limit": "pids-max", "by": "50%", "to": 150}
    await engine.rulesets.add(document(select=WHOLE, grade=[WEIGHT, raises]))
    rounds.say(path, pressure=60.0)
    await rounds.go(1)
    (first,) = team_now(engine).overrides
    rounds.say(path, pressure=70.0)
    await rounds.go(3)
    assert world.tree.held(path, "pids.max") == "150"
    (both,) = team_now(engine).overrides
    assert both.reason.startswith(f"{first.reason}; group team-a: memory full 10s pressure 70%")
    rounds.say(path)
    await rounds.go(7)
    (left,) = team_now(engine).overrides
    assert left.reason == first.reason, "what was let go of is spoken of no more"
    assert world.tree.held(path, "pids.max") == "100"


async def test_of_a_group_nothing_is_left_without_an_owner(world, clock):
    """Whatever the agent dies of: an override without a row, a row without its ruleset."""
    async with world.agent() as engine:
        path = await team(engine)
        await started(engine, "one", group="team-a")
        grades = [WEIGHT, {"action": "freeze", "for": "1h"}]
        await engine.rulesets.add(document(select=WHOLE, grade=grades))
        rounds = Rounds(engine, clock)
        rounds.say(path, pressure=60.0)
        await rounds.go(2)
        assert engine.containers.find("one").frozen
    async with world.agent() as engine:
        assert engine.containers.find("one").frozen
        assert engine.rulesets.active() == {"a": 2}
        rows = engine.rulesets._catalogue._rows
        rows.let_go(rows.holds()[0])
        rows.delete("a")
    async with world.agent() as engine:
        assert not engine.containers.find("one").frozen
        assert team_now(engine).overrides == ()
        assert world.tree.held(path, "cpu.weight") == "100"
        assert list(engine.rulesets._holds) == []


async def test_a_group_may_be_meant_by_its_cgroup(engine, world, rounds):
    path = await team(engine)
    await engine.rulesets.add(document(select={"cgroup": "{parent}/team-a"}, grade=[WEIGHT]))
    rounds.say(path, pressure=60.0)
    await rounds.go(1)
    assert [o.owner for o in team_now(engine).overrides] == ["policy.a"]
    await engine.grouping.remove("team-a")
    rounds.samples.clear()
    await rounds.go(1)
    assert list(engine.rulesets._holds) == []
    assert decided(engine) == [("weight", "done"), ("weight", "over")]


async def test_a_cap_holds_when_a_boost_comes_and_goes(engine, world, rounds):
    """It is never wider than the ruleset says, nor than without the ruleset."""
    container = await started(engine, "one")
    await engine.control.update(container, Limits(), Conveniences(cpus=0.5))
    boost = LimitOverride(
        owner="boost",
        reason="a test",
        since_ns=1,
        limits=Limits(cpu_quota_us=100_000, cpu_period_us=100_000),
    )
    await engine.control.override(container, boost)
    await engine.rulesets.add(document(grade=[{"action": "cpu-cap", "cpus": 0.75}]))
    rounds.say(container, pressure=60.0)
    await rounds.go(1)
    path = container.record.cgroup_path
    assert world.tree.held(path, "cpu.max") == "75000 100000"
    await engine.control.lift(container, "boost")
    assert world.tree.held(path, "cpu.max") == "50000 100000"
    await engine.control.override(container, boost)
    assert world.tree.held(path, "cpu.max") == "75000 100000"


async def test_files_are_read_again_and_what_is_as_it_was_goes_on(world, clock, tmp_path):
    (file := tmp_path / "policies.toml").write_text(on_file("a", 5) + on_file("b", 4))
    async with world.agent(policies=file) as engine:
        container = await started(engine, "one")
        rounds = Rounds(engine, clock)
        rounds.say(container, pressure=60.0)
        await rounds.go(1)
        assert [o.owner for o in container.record.overrides] == ["policy.a", "policy.b"]
        kept = engine.rulesets.get("a")
        file.write_text(on_file("a", 5) + on_file("c", 3) + "[[ruleset")
        with pytest.raises(InvalidInputError, match="cannot be read"):
            await engine.rulesets.reload()
        assert [one.rules.name for one in engine.rulesets.all()] == ["a", "b"]
        file.write_text(on_file("a", 5) + on_file("c", 3))
        engine.reload()
        await until(lambda: engine.rulesets._catalogue.find("c"))
        assert engine.rulesets.get("a") is kept
        assert [o.owner for o in container.record.overrides] == ["policy.a"]
        await rounds.go(1)
        assert weight(container) == 3


def on_file(name, cpu):
    return (
        f'[[ruleset]]\nname = "{name}"\nwhen = {{detector = "pressure-above", above = 50}}\n'
        f'grade = [{{action = "weight", cpu = {cpu}}}]\n'
    )


def cpuset(held, cpus=4, used=0.0, **options):
    """What a grade makes of the CPUs that somebody is held to, who uses so many."""
    ((name, value),) = options.items()
    table = {"name": "a", "when": {"detector": "pressure-above", "above": 50}}
    table["grade"] = [{"action": "cpuset", name: value}]
    (rules,) = rulesets({"ruleset": [table]}, "test", "/cgagent")
    rates = SimpleNamespace(cpu_percent=used * 100)
    facts = Facts(at_s=0.0, host=HostFacts(cpus=cpus, cpu_list=f"0-{cpus - 1}"), rates=rates)
    return limiting.limits(rules.grades[0], Limits(cpuset_cpus=held), facts).cpuset_cpus


@pytest.mark.parametrize(
    ("held", "leave", "left"),
    [
        *(("", 1, "0-2"), ("0-3", 2, "0-1"), ("1,3", 1, "1"), ("2-3", 1, "2")),
        *(("", "25%", "0-2"), ("", "26%", "0-1"), ("1-3", "50%", "1")),
    ],
)
def test_the_last_cpus_are_left_to_others(held, leave, left):
    assert cpuset(held, leave=leave) == left


@pytest.mark.parametrize(
    ("held", "cpus", "keep", "kept"),
    [
        *(("", 4, 1, "3"), ("0-3", 4, "50%", "2-3"), ("1-2", 4, 2, "2"), ("", 2, "25%", "1")),
        ("", 64, "25%", "48-63"),
    ],
)
def test_somebody_keeps_to_the_last_cpus(held, cpus, keep, kept):
    assert cpuset(held, cpus, keep=keep, used=0.9) == kept


@pytest.mark.parametrize(
    ("held", "used", "options", "why"),
    [
        *(("3", 0, {"leave": 1}, "no CPU without"), ("0-3", 0, {"leave": 4}, "no CPU without")),
        ("0-1", 0, {"leave": 1}, "none of the CPUs"),
        ("", 0, {"leave": "100%"}, "no CPU without the last 4"),
        ("0-1", 0, {"keep": 1}, "no CPU with the last 1 alone"),
        ("2-3", 0, {"keep": "50%"}, "it has no other CPUs"),
        ("", 2.25, {"keep": 2}, "it uses 2.25 CPUs, and would have 2"),
    ],
)
def test_somebody_has_a_cpu_and_no_fewer_than_it_uses(held, used, options, why):
    with pytest.raises(ConflictError, match=why):
        cpuset(held, used=used, **options)
