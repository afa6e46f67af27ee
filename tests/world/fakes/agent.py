"""An engine on a fake supervisor and a fake cgroup tree: all of it real but the kernel's part."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.config import Settings
from cgagent.engine import networks
from cgagent.engine.containers.config import ContainerConfig, CreateRequest
from cgagent.engine.engine import Engine
from cgagent.engine.lifecycle import pool
from cgagent.engine.networks import naming
from cgagent.engine.options.networking import EndpointSpec
from cgagent.kernel import seccomp
from cgagent.network import netns
from tests.world.fakes import image
from tests.world.fakes.cgroups import CgroupTree
from tests.world.fakes.names import FakeNames
from tests.world.fakes.supervisor import FakeSupervisor
from tests.world.fakes.wiring import FakeWiring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import pytest

    from cgagent.engine.containers.container import Container

IMAGE: Final = "tiny"
_NEVER_S: Final = 3600.0
_LIMIT_S: Final = 30.0


class FakeWorld:
    """What agents of one machine find, one after the other. All is below `directory`."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        run_dir = directory / "run"
        run_dir.mkdir()
        self.tree = CgroupTree(directory / "machine", patch)
        self.settings = Settings(
            data_root=directory / "data",
            socket=run_dir / "cgagent.sock",
            sample_interval_s=_NEVER_S,
            sample_full_interval_s=_NEVER_S,
        )
        self.supervisor = FakeSupervisor(run_dir, self.tree)
        self._patch = patch
        self.wiring = FakeWiring()
        self.names = FakeNames()
        patch.setattr(networks, "Wiring", lambda *_: self.wiring)
        patch.setattr(naming, "Names", lambda *_: self.names)
        patch.setattr(netns, "opened", self.names.opened)
        patch.setattr(seccomp, "compile_filter", lambda _: b"")  # no process will have it
        self.refill_pool_after(_NEVER_S)
        self.image_id = image.add(self.settings.data_root, IMAGE, {"Cmd": ["/hello"]})

    def refill_pool_after(self, delay_s: float) -> None:
        """By default it stays empty: all that is there is a container's."""
        self._patch.setattr(pool, "_REFILL_DELAY_S", delay_s)

    def left(self) -> list[str]:
        """All there is of containers and volumes: on disk, among the groups, of processes."""
        root = self.settings.data_root
        names = ("containers", "containers-rw", "ahead", "volumes")
        files = [f"{name}/{p.name}" for name in names for p in (root / name).glob("*")]
        groups = [path for path in self.tree.groups() if path != self.settings.cgroup_parent]
        return sorted([*files, *groups, *self.supervisor.tasks])

    @asynccontextmanager
    async def agent(self, *, adopt_lost: bool = False, **settings: Any) -> AsyncIterator[Engine]:
        """One that runs, and is stopped in the end; with other `settings`."""
        self.supervisor.listen()
        engine = Engine(
            replace(self.settings, **settings), adopt_lost=adopt_lost, host=self.tree.host
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()


def request(name: str | None = None, *, image: str = IMAGE, **config: Any) -> CreateRequest:
    """A container of the tiny image in no network; `config` are fields of its `ContainerConfig`."""
    config.setdefault("networks", (EndpointSpec(network="none"),))
    return CreateRequest(name=name, config=ContainerConfig(image=image, **config))


async def started(engine: Engine, name: str | None = None, **config: Any) -> Container:
    """A container that runs."""
    container = await engine.lifecycle.create(request(name, **config))
    await engine.lifecycle.start(container)
    return container


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop go on until the condition holds; for so long by a clock of its own."""
    deadline_s = time.perf_counter() + _LIMIT_S
    while not condition():
        if time.perf_counter() > deadline_s:
            raise TimeoutError("what was waited for has not come")
        await asyncio.sleep(0.001)


async def over(container: Container) -> None:
    """Until what follows its end is done."""
    await until(lambda: not container.running)
    async with container.lock:
        pass
