"""Groups of containers: their names, records and cgroups, and who may be in one."""

import asyncio
import errno
import json
from dataclasses import replace

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.containers.container import Sleep
from cgagent.engine.containers.selection import Selection
from cgagent.engine.events import EventQuery
from cgagent.engine.groups import viewing
from cgagent.engine.groups.group import VERSION, Group, check_name
from cgagent.engine.groups.grouping import Change
from cgagent.engine.observe.policies import Tick
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import LimitOverride
from cgagent.errors import (
    CgagentError,
    ConflictError,
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)
from tests.world.fakes.agent import request, started, until

pytestmark = pytest.mark.anyio

NOTHING = Conveniences()
MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_view(monkeypatch):
    async def spawn(*_, **_more):
        raise OSError(errno.EPERM, "mounts are the kernel's")

    monkeypatch.setattr(viewing.children, "spawn", spawn)


async def create(engine, name, **more):
    limits = more.pop("limits", Limits(memory_max_bytes=64 * MIB))
    return await engine.grouping.create(name, limits, NOTHING, **more)


def told(engine):
    return [f"{e.type} {e.action} {e.id}" for e in engine.events.past(EventQuery())]


@pytest.mark.parametrize("name", ["a", "team-a", "team_a/Back-end", "7", "a/b/c/d/e/f/g/h"])
def test_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("", "begins with a letter"),
        ("team a", "begins with a letter"),
        ("memory.max", "begins with a letter"),
        ("../up", "begins with a letter"),
        ("a//b", "begins with a letter"),
        ("/a", "begins with a letter"),
        ("a" * 64, "up to 63"),
        ("a/b/c/d/e/f/g/h/i", "at most 8 levels"),
        ("tasks", "'tasks' is taken"),
        ("a/stats", "'stats' is taken"),
        ("build-1", "those of builds"),
    ],
)
def test_what_is_no_name(name, cause):
    with pytest.raises(InvalidInputError, match=cause):
        check_name(name)


def test_a_record_is_read_as_it_was_written():
    group = Group(
        name="a/b",
        created_ns=7,
        limits=Limits(memory_max_bytes=MIB, pids_max=5),
        max_containers=3,
        labels={"tier": "one"},
        frozen_since_ns=9,
        thaw_at_ns=10,
        overrides=(
            LimitOverride(
                owner="policy.a",
                reason="why",
                since_ns=1,
                limits=Limits(pids_max=9),
                widens=("pids_max",),
            ),
        ),
        budget="cpu=1s/60s",
        stopped_until_ns=11,
        stopped=("one",),
        undo=(("/file", "text"),),
    )
    document = group.to_document()
    assert Group.from_document("a/b", 7, document) == group
    later = document.replace(f'"version": {VERSION}', f'"version": {VERSION + 1}')
    with pytest.raises(UnsupportedError, match="start that version"):
        Group.from_document("a/b", 7, later)
    first = {
        "version": 1,
        "limits": {"pids_max": 5},
        "max_containers": 3,
        "labels": {},
        "limits_changed_ns": None,
        "frozen_since_ns": 9,
        "undo": [],
    }
    read = Group.from_document("a", 7, json.dumps(first))
    assert read == Group(
        name="a", created_ns=7, limits=Limits(pids_max=5), max_containers=3, frozen_since_ns=9
    )


async def test_made_changed_and_removed(engine, world):
    made = await create(engine, "team", max_containers=1)
    path = engine.container_groups.path("team")
    assert world.tree.held(path, "memory.max") == str(64 * MIB)
    await create(engine, "team/low", limits=Limits())
    with pytest.raises(ConflictError, match="exists"):
        await create(engine, "team")
    with pytest.raises(NotFoundError, match="group 'other' does not exist"):
        await create(engine, "other/low")
    changed = await engine.grouping.update(
        "team", Change(limits=Limits(memory_max_bytes=32 * MIB), extra=NOTHING, lifts_max=True)
    )
    assert (changed.limits.memory_max_bytes, changed.max_containers) == (32 * MIB, None)
    assert (made.limits_changed_ns, changed.undo) == (None, ())
    assert world.tree.held(path, "memory.max") == str(32 * MIB)
    with pytest.raises(ConflictError, match="group team has group team/low in it"):
        await engine.grouping.remove("team")
    world.tree.say(path, "pids.current", "7")
    engine.monitor.refresh_group(path)
    await engine.grouping.remove("team", force=True)
    assert path not in world.tree.groups()
    assert told(engine) == [
        *("group create team", "group create team/low", "group update team"),
        *("group destroy team/low", "group destroy team"),
    ]
    await create(engine, "team")  # whose figures are not those of the earlier one
    assert engine.monitor.group_stats(path)["usage"]["pids"]["current"] == 0


async def test_a_limit_that_the_kernel_refuses_leaves_nothing(engine, world):
    world.tree.refuse("memory.max")
    with pytest.raises(InvalidInputError, match=r"memory\.max"):
        await create(engine, "team")
    assert engine.container_groups.get("team") is None
    assert engine.container_groups.path("team") not in world.tree.groups()
    world.tree.accept("memory.max")
    await create(engine, "team")
    world.tree.refuse("pids.max")
    change = Change(limits=Limits(memory_max_bytes=32 * MIB, pids_max=5), extra=NOTHING)
    with pytest.raises(InvalidInputError, match=r"pids\.max"):
        await engine.grouping.update("team", change)
    kept = engine.container_groups.find("team")
    assert (kept.limits.memory_max_bytes, kept.undo) == (64 * MIB, ())
    assert world.tree.held(engine.container_groups.path("team"), "memory.max") == str(64 * MIB)


async def test_somebody_elses_cgroup_is_none(engine, world):
    path = engine.container_groups.path("theirs")
    world.tree.make(path)
    with pytest.raises(ConflictError, match="not made by cgagent"):
        await create(engine, "theirs")
    assert path in world.tree.groups()


async def test_who_is_in_it_and_how_many(engine):
    groups = engine.container_groups
    await create(engine, "team", max_containers=2)
    await create(engine, "team/low")
    one = await started(engine, "one", group="team")
    low = await started(engine, "low", cgroup_parent="team/low")
    out = await started(engine, "out")
    assert [groups.name_of(c) for c in (one, low, out)] == ["team", "team/low", ""]
    assert {c.name for c in groups.members("team")} == {"one", "low"}
    for refused in ({"group": "team/low"}, {"cgroup_parent": "team"}):
        with pytest.raises(ConflictError, match="has 2 of at most 2"):
            await engine.lifecycle.create(request(**refused))
    with pytest.raises(ConflictError, match="exclude each other"):
        await engine.lifecycle.create(request(group="team", cgroup_parent="/x"))
    with pytest.raises(ConflictError, match="at most 2"):
        await engine.moving.move(out, "team")
    await engine.moving.move(one, "team/low")  # it is in the full group already
    chosen = engine.selected(Selection.parse(["group=team"]))
    assert {c.name for c in chosen} == {"one", "low"}
    with pytest.raises(ConflictError, match="has 2 containers in it"):
        await engine.grouping.remove("team")


async def test_whether_one_more_fits(engine):
    await create(engine, "team", max_containers=1)
    path = engine.container_groups.path("team")

    async def found(parent):
        view = await engine.capacity.view({"memory": 128 * MIB}, parent)
        told = [f for f in view.findings if f.by == "promise" and f.scope != "/"]
        return {(f.scope, f.resource): f.fits for f in told}

    assert await found(path) == {(path, "memory"): False, (path, "containers"): True}
    await started(engine, "one", group="team")
    assert (await found(path))[path, "containers"] is False
    assert await found(None) == {}


async def test_a_move_takes_all_along_or_nothing(engine, world):
    await create(engine, "team")
    one = await started(engine, "one")
    before, pid = one.record.cgroup_path, one.record.outcome.pid
    world.tree.refuse("cgroup.procs", errno.ENOSPC)
    with pytest.raises(CgagentError, match="cannot join"):
        await engine.moving.move(one, "team")
    world.tree.accept("cgroup.procs")
    assert (one.record.cgroup_path, one.record.moving, one.record.config.group) == (before, "", "")
    assert world.tree.held(before, "cgroup.procs") == str(pid)
    assert world.tree.held(before, "cgroup.freeze") == "0"
    world.tree.say(before, "cpu.stat", "usage_usec 700\nuser_usec 400\nsystem_usec 300\n")
    await engine.moving.move(one, "team")
    path = f"{engine.container_groups.path('team')}/{one.id}"
    assert (one.record.cgroup_path, one.record.moving) == (path, "")
    assert world.tree.held(path, "cgroup.procs") == str(pid)
    assert world.tree.held(path, "cgroup.freeze") == "0"
    assert before not in world.tree.groups()
    assert one.record.outcome.earlier.counters["cpu"]["usage_ns"] == 700_000
    assert engine.monitor.stats(one)["usage"]["cpu"]["usage_ns"] >= 700_000
    world.tree.make(f"{path}/inner")
    with pytest.raises(ConflictError, match="group inner is below it"):
        await engine.moving.move(one, "")
    assert told(engine)[-1] == f"container move {one.id}"


@pytest.mark.parametrize("is_noted", [False, True])
async def test_a_move_that_was_cut_short(world, is_noted):
    """Before its record says that the container is in the new place, and after that."""
    async with world.agent() as engine:
        await create(engine, "team")
        one = await started(engine, "one")
        old, new = one.record.cgroup_path, f"{engine.container_groups.path('team')}/{one.id}"
        pid = one.record.outcome.pid
        world.tree.make(new, pid)
        world.tree.say(new, "cgroup.freeze", "1")
        moving = {"moving": old, "cgroup_path": new} if is_noted else {"moving": new}
        engine.containers.save(one, replace(one.record, **moving))
    async with world.agent() as engine:
        one = engine.containers.find("one")
        here, gone = (new, old) if is_noted else (old, new)
        assert (one.record.cgroup_path, one.record.moving) == (here, "")
        assert world.tree.held(here, "cgroup.procs") == str(pid)
        assert world.tree.held(here, "cgroup.freeze") == "0"
        assert gone not in world.tree.groups()


async def test_frozen_as_one(engine, world):
    await create(engine, "team")
    await create(engine, "team/low")
    one = await started(engine, "one", group="team/low")
    await engine.whole_groups.freezing.freeze("team")
    assert world.tree.held(engine.container_groups.path("team"), "cgroup.freeze") == "1"
    assert one.frozen
    later = await engine.lifecycle.create(request("later", group="team"))
    for refused in (
        engine.lifecycle.start(later),
        engine.control.thaw(one),
        engine.whole_groups.freezing.thaw("team/low"),
        engine.moving.move(one, ""),
    ):
        with pytest.raises(ConflictError, match="cgagent group thaw team"):
            await refused
    with pytest.raises(ConflictError, match="frozen already"):
        await engine.whole_groups.freezing.freeze("team")
    await engine.whole_groups.freezing.thaw("team")
    assert not one.frozen
    with pytest.raises(ConflictError, match="not frozen"):
        await engine.whole_groups.freezing.thaw("team")
    world.tree.never_freezes = True
    with pytest.raises(CgagentError, match="did not freeze in time"):
        await engine.whole_groups.freezing.freeze("team", 0.01)
    assert engine.container_groups.find("team").frozen_since_ns is None


async def test_their_cgroups_are_made_again(world):
    async with world.agent() as engine:
        await create(engine, "team")
        await create(engine, "team/low", limits=Limits(pids_max=5))
        path = engine.container_groups.path("team")
    assert path not in world.tree.groups()  # as nothing ran
    async with world.agent() as engine:
        assert world.tree.held(path, "memory.max") == str(64 * MIB)
        assert world.tree.held(f"{path}/low", "pids.max") == "5"
        for gone in (f"{path}/low", path):
            engine.host.group(gone).remove()
        await started(engine, "one", group="team/low")
        assert world.tree.held(path, "memory.max") == str(64 * MIB)


async def test_a_lost_record_is_made_again(world):
    """Its containers are in the cgroup that is there."""
    async with world.agent() as engine:
        await create(engine, "team")
        one = await started(engine, "one", group="team")
        engine.container_groups.drop("team")
        engine._parents._note(set())
        await create(engine, "team", limits=Limits(pids_max=9))
        assert engine.container_groups.name_of(one) == "team"
        path = engine.container_groups.path("team")
        assert world.tree.held(path, "pids.max") == "9"
        assert world.tree.held(path, "memory.max") == "max"


async def test_a_removed_group_is_not_brought_back_by_an_update(engine, monkeypatch):
    await create(engine, "team")
    path, goes_on, began = engine.container_groups.path("team"), asyncio.Event(), asyncio.Event()

    async def slow(_):
        began.set()
        await goes_on.wait()

    monkeypatch.setattr("cgagent.engine.groups.changes.in_thread", slow)
    change = Change(limits=Limits(pids_max=7), extra=NOTHING)
    updating = asyncio.create_task(engine.grouping.update("team", change))
    await began.wait()
    removing = asyncio.create_task(engine.grouping.remove("team"))
    await asyncio.sleep(0.05)
    goes_on.set()
    await updating
    await removing
    assert engine.container_groups.get("team") is None
    assert not engine.host.group(path).exists()


async def test_what_leaves_while_a_group_is_removed_stays(engine, monkeypatch):
    await create(engine, "team")
    first, second = [await started(engine, name, group="team") for name in ("one", "two")]
    plain = engine.lifecycle.remove

    async def remove(container, **more):
        for other in {first, second} - {container}:
            if not other.removed:
                await engine.moving.move(other, "")
        await plain(container, **more)

    monkeypatch.setattr(engine.lifecycle, "remove", remove)
    await engine.grouping.remove("team", force=True)
    assert [first.removed, second.removed].count(True) == 1


async def test_nothing_starts_in_one_whose_limits_are_refused(engine, world):
    await create(engine, "team")
    one = await engine.lifecycle.create(request("one", group="team"))
    engine.host.group(engine.container_groups.path("team")).remove()
    world.tree.refuse("memory.max")
    for _ in range(2):
        with pytest.raises(CgagentError, match="group team cannot be made again"):
            await engine.lifecycle.start(one)
    world.tree.accept("memory.max")
    await engine.lifecycle.start(one)


async def test_limits_that_are_refused_by_now_can_be_changed(engine):
    await create(engine, "team")
    team = engine.container_groups.find("team")
    gone = Limits(cpuset_cpus="0-999")  # as on a machine of more CPUs
    engine.container_groups.save(replace(team, limits=gone))
    engine.host.group(engine.container_groups.path("team")).remove()
    with pytest.raises(CgagentError, match="cannot be made again"):
        await engine.whole_groups.freezing.freeze("team")
    change = Change(limits=Limits(cpuset_cpus="0"), extra=NOTHING)
    await engine.grouping.update("team", change)
    assert engine.container_groups.find("team").limits.cpuset_cpus == "0"


async def test_what_an_agents_death_has_cut_short(world):
    async with world.agent() as engine:
        await create(engine, "bare")
        await create(engine, "cold")
        one = await started(engine, "one", group="cold")
        cold = engine.container_groups.find("cold")
        engine.container_groups.save(replace(cold, frozen_since_ns=7))  # and not frozen yet
        bare = engine.container_groups.path("bare")
    engine.host.group(bare).remove()
    world.tree.make(bare)  # and its limits are not written yet
    async with world.agent() as engine:
        assert world.tree.held(bare, "memory.max") == str(64 * MIB)
        assert engine.container_groups.find("cold").frozen_since_ns is None
        await engine.moving.move(engine.containers.find(one.id), "")


async def test_a_restart_in_a_frozen_group_ends_nothing(engine):
    await create(engine, "team")
    one = await started(engine, "one", group="team")
    await engine.whole_groups.freezing.freeze("team")
    with pytest.raises(ConflictError, match="cgagent group thaw team"):
        await engine.lifecycle.restart(one)
    assert one.running


async def test_what_hibernates_in_a_frozen_group_is_woken_with_it(world):
    """Also where an agent has ended in between."""
    async with world.agent() as engine:
        await create(engine, "team")
        one = await started(engine, "one", group="team")
        await engine.control.freeze(one, sleep=Sleep(since_ns=7, by="user", hears_packets=False))
        await engine.whole_groups.freezing.freeze("team")
    async with world.agent() as engine:
        one = engine.containers.find("one")
        await engine.whole_groups.freezing.thaw("team")
        assert world.tree.held(one.record.cgroup_path, "cgroup.freeze") == "0"
        assert not one.frozen


async def test_a_freeze_by_another_program_outlives_a_move(engine, world):
    await create(engine, "team")
    one = await started(engine, "one")
    engine.host.group(one.record.cgroup_path).freeze()
    await engine.moving.move(one, "team")
    assert one.frozen
    assert world.tree.held(one.record.cgroup_path, "cgroup.freeze") == "1"


async def test_the_cgroup_of_one_that_is_being_made_is_not_pruned(engine, monkeypatch):
    async def slow(_):
        engine._parents.prune()  # as whatever ends meanwhile does

    monkeypatch.setattr("cgagent.engine.groups.directories.in_thread", slow)
    await create(engine, "team")
    assert engine.host.group(engine.container_groups.path("team")).exists()


async def test_a_group_that_is_frozen_amid_a_move_is_left(engine, monkeypatch):
    """Its container goes on where it was, with that group."""
    await create(engine, "team")
    one = await started(engine, "one", group="team")
    before, plain = one.record.cgroup_path, engine.moving._prepare

    def prepare(*arguments):
        plain(*arguments)
        team = engine.container_groups.find("team")
        engine.container_groups.save(replace(team, frozen_since_ns=7))
        engine.host.group(engine.container_groups.path("team")).freeze()

    monkeypatch.setattr(engine.moving, "_prepare", prepare)
    with pytest.raises(ConflictError, match="group team is frozen"):
        await engine.moving.move(one, "")
    assert (one.record.cgroup_path, one.record.moving) == (before, "")
    await engine.whole_groups.freezing.thaw("team")
    assert not one.frozen


async def test_one_that_is_not_idle_any_more_has_its_weight(engine, world):
    await create(engine, "team", limits=Limits(cpu_weight=50))
    path = engine.container_groups.path("team")
    (world.tree.directory(path) / "cpu.idle").write_text("0\n")

    async def update(**limits):
        change = Change(limits=Limits(**limits), extra=NOTHING)
        await engine.grouping.update("team", change)

    await update(cpu_idle=True)
    world.tree.say(path, "cpu.weight", "0")  # the kernel forgets it, and takes none
    await update(cpu_weight=70)
    assert world.tree.held(path, "cpu.weight") == "0"
    await update(cpu_idle=False)
    assert world.tree.held(path, "cpu.weight") == "70"


async def test_nothing_starts_below_a_cgroup_that_another_program_has_frozen(engine):
    await create(engine, "team")
    team = engine.host.group(engine.container_groups.path("team"))
    team.freeze()
    one = await engine.lifecycle.create(request("one", group="team"))
    with pytest.raises(ConflictError, match="cgagent cgroup thaw /cgagent/team"):
        await engine.lifecycle.start(one)
    await engine.whole_groups.freezing.thaw("team")
    await engine.lifecycle.start(one)


async def test_a_start_that_a_freeze_of_its_group_overtakes_says_so(engine, world):
    await create(engine, "team")
    one = await engine.lifecycle.create(request("one", group="team"))
    hold = world.supervisor.hold("start")
    world.supervisor.fail("start", DeadlineError("the supervisor does not answer"))
    starting = asyncio.create_task(engine.lifecycle.start(one))
    await hold.asked.wait()
    await engine.whole_groups.freezing.freeze("team")
    hold.release()
    with pytest.raises(ConflictError, match="group team is frozen"):
        await starting
    await engine.whole_groups.freezing.thaw("team")
    await engine.lifecycle.start(one)


async def test_a_freeze_for_a_time_ends_by_itself_also_under_the_next_agent(world, leap):
    async with world.agent() as engine:
        await create(engine, "team")
        one = await started(engine, "one", group="team")
        await engine.whole_groups.freezing.freeze("team", lease_s=60)
        leap(60)
        await until(lambda: not one.frozen)
        await engine.whole_groups.freezing.freeze("team", lease_s=60)
    async with world.agent() as engine:
        assert engine.container_groups.find("team").thaw_at_ns is not None
        leap(60)
        await until(lambda: not engine.containers.find("one").frozen)
        assert engine.container_groups.find("team").thaw_at_ns is None


async def test_what_another_program_freezes_is_shown_as_frozen(engine, world):
    await create(engine, "team")
    await create(engine, "team/low")
    await started(engine, "one", group="team/low")
    paths = [engine.container_groups.path(name) for name in ("team", "team/low")]
    seen = frozenset(f"cgroup:{path}" for path in paths)

    def look(frozen):
        tick = Tick(lambda id_: id_, lambda _: None, frozen)
        engine.whole_groups.freezing.ticked(tick)
        groups = engine.container_groups.all()
        return [group.frozen_since_ns is not None for group in groups]

    assert look(seen) == [False, False], "the sample is older than a thaw"
    engine.host.group(paths[0]).freeze()
    assert look(seen) == [True, False], "the other is frozen with it"
    assert look(frozenset()) == [True, False], "the sample is older than the freeze"
    engine.host.group(paths[0]).thaw()
    assert look(frozenset()) == [False, False]
    assert told(engine)[-2:] == ["group freeze team", "group thaw team"]


async def test_a_refused_start_leaves_what_the_last_run_came_to(engine):
    await create(engine, "team")
    one = await started(engine, "one", group="team")
    await engine.lifecycle.kill(one, "KILL", wait=True)
    before = one.record.outcome
    await engine.whole_groups.freezing.freeze("team")
    with pytest.raises(ConflictError, match="cgagent group thaw team"):
        await engine.lifecycle.start(one)
    assert one.record.outcome == before
    assert before.exit_code == 137
