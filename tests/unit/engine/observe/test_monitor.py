"""Samples of containers as they are shown."""

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.restart import ALWAYS, RestartPolicy
from cgagent.errors import ConflictError
from cgagent.metrics import Asked
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio


async def test_figures_of_one_that_runs(engine, world):
    container = await started(engine, "one", labels={"tier": "web"})
    world.tree.say(container.record.cgroup_path, "memory.current", "8192")
    stats = engine.monitor.stats(container)
    assert (stats["name"], stats["status"]) == ("one", "running")
    assert stats["usage"]["memory"]["current_bytes"] == 8192
    assert stats["memory_limit_bytes"] is None
    await engine.control.update(container, Limits(memory_max_bytes=1 << 30), Conveniences())
    assert engine.monitor.stats(container)["memory_limit_bytes"] == 1 << 30
    docker = engine.monitor.docker_stats(container)
    assert docker["memory_stats"]["usage"] == 8192
    assert [s["name"] for s in engine.monitor.all_stats()] == ["one"]
    await until(engine.monitor.host)
    assert engine.monitor.history(container, 0.0)["columns"][0] == "at_s"


async def test_one_that_does_not_run_has_none(engine):
    container = await engine.lifecycle.create(request("one"))
    with pytest.raises(ConflictError, match="one is not running"):
        engine.monitor.stats(container)
    with pytest.raises(ConflictError):
        engine.monitor.docker_stats(container)


async def test_a_frozen_one_is_shown_as_frozen(engine):
    container = await started(engine, "one")
    await engine.control.freeze(container)
    assert engine.monitor.stats(container)["status"] == "frozen"


async def test_the_exposition(engine, world):
    running = await started(engine, "one", restart=RestartPolicy(ALWAYS))
    ended = await started(engine, "two")
    world.supervisor.end(ended.id, 3)
    await over(ended)
    await engine.control.freeze(running)
    text = (await engine.monitor.render(Asked())).body.decode()
    told = {tuple(line.rsplit(" ", 1)) for line in text.splitlines()}
    one, two = (
        f'id="{c.record.cgroup_path}",name="{c.name}",image="tiny"' for c in (running, ended)
    )
    assert (f'cgagent_container_state{{{one},state="frozen"}}', "1") in told
    assert (f"cgagent_container_restarts_total{{{one}}}", "0") in told
    assert (f'cgagent_container_state{{{two},state="exited"}}', "1") in told
    assert (f"cgagent_container_exit_code{{{two}}}", "3") in told
