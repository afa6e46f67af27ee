"""What the host and the groups above containers have, of the real engine."""

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.options.limits import Conveniences
from cgagent.errors import InvalidInputError
from tests.world.fakes.agent import request, started, until

pytestmark = pytest.mark.anyio

MIB = 1 << 20


async def test_promised_held_and_used(engine, world):
    one = await started(engine, "one")
    await started(engine, "two")
    await engine.lifecycle.create(request("created"))
    asked = Limits(memory_max_bytes=64 * MIB)
    await engine.control.update(one, asked, Conveniences(cpus=0.5))
    await until(engine.monitor.machine)
    await engine.groups.change(
        "/cgagent", Limits(memory_max_bytes=100 * MIB), Conveniences(), force=False
    )
    world.tree.say(one.record.cgroup_path, "memory.current", str(9 * MIB))
    engine.monitor.last_sample(one)
    view = await engine.capacity.view({"memory": 50 * MIB})
    assert [scope.path for scope in view.scopes] == ["/", "/cgagent"]
    memory, cpus = view.scopes[1].rooms
    assert (memory.total, memory.promised, memory.held) == (100 * MIB, 64 * MIB, 64 * MIB)
    assert (memory.limited, memory.unlimited) == (1, 1)
    assert (cpus.total, cpus.promised, cpus.unlimited) == (None, 0.5, 1)
    found = {(f.scope, f.by): f.fits for f in view.findings}
    assert found["/cgagent", "promise"] is False
    assert set(found) == {(path, by) for path in ("/", "/cgagent") for by in ("promise", "use")}
    elsewhere = await engine.capacity.view({"memory": 50 * MIB}, "/other")
    assert {f.scope for f in elsewhere.findings} == {"/"}
    assert (await engine.capacity.view({})).findings == ()
    with pytest.raises(InvalidInputError):
        await engine.capacity.view({}, "relative")


async def test_groups_above_the_agents_own_are_scopes(engine):
    engine.capacity._parent = "/a/b/c"
    view = await engine.capacity.view({})
    assert [scope.path for scope in view.scopes] == ["/", "/a", "/a/b", "/a/b/c"]
