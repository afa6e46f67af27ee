"""Any group of the host may be looked at; ours may be changed."""

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.options.limits import Conveniences
from cgagent.errors import DeniedError, NotFoundError
from tests.world.fakes.agent import started

pytestmark = pytest.mark.anyio

NOTHING = Conveniences()


async def test_a_tree(engine, world):
    container = await started(engine, "one")
    world.tree.make("/other/deep", 6_000_000)
    world.tree.say("/other", "memory.current", "4096")
    nodes = engine.groups.tree("/", 1)
    assert [node.path for node in nodes] == ["/", "/cgagent", "/other"]
    assert nodes[2].memory_bytes == 4096
    inside = {node.path: node for node in engine.groups.tree("/cgagent", 9)}
    assert inside[container.record.cgroup_path].container == "one"
    assert inside[container.record.cgroup_path].state == "thawed"
    with pytest.raises(NotFoundError, match="/none does not exist"):
        engine.groups.tree("/none", 1)
    world.tree.leave(6_000_000)


async def test_one_group(engine, world):
    container = await started(engine, "one")
    detail = engine.groups.show(container.record.cgroup_path)
    assert (detail.container, detail.state, detail.children) == ("one", "thawed", ())
    assert detail.usage.pids.processes == 1
    assert detail.held.cpu_weight == 100
    assert engine.groups.show("/cgagent").children == (container.id,)


async def test_somebody_elses_is_changed_if_that_is_insisted_on(engine, world):
    world.tree.make("/other", 6_000_000)
    with pytest.raises(DeniedError, match="/other is not cgagent's"):
        await engine.groups.change("/other", Limits(pids_max=3), NOTHING, force=False)
    await engine.groups.change("/other", Limits(pids_max=3), NOTHING, force=True)
    assert world.tree.held("/other", "pids.max") == "3"
    for action in ("freeze", "thaw", "kill"):
        await engine.groups.act("/other", action, force=True, timeout_s=1)
    assert world.tree.held("/other", "cgroup.procs") == ""
    with pytest.raises(DeniedError, match="is the whole machine"):
        await engine.groups.act("/", "kill", force=True, timeout_s=1)


async def test_ours_is(engine, world):
    container = await started(engine, "one")
    path = container.record.cgroup_path
    await engine.groups.change(path, Limits(pids_max=3), NOTHING, force=False)
    assert world.tree.held(path, "pids.max") == "3"
    assert engine.jobs.all()[0].name == "cgroup-set"
