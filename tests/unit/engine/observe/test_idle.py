"""Who is put to sleep by itself: whoever asked for it, and has had no work for so long."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from cgagent.engine.observe import idle
from cgagent.engine.observe.idle import IdleSleep
from cgagent.engine.observe.policies import Tick

pytestmark = pytest.mark.anyio

ID = "a" * 64


@dataclass
class Container:
    id: str = ID
    name: str = "web"
    running: bool = True
    frozen: bool = False
    record: object = field(
        default_factory=lambda: SimpleNamespace(config=SimpleNamespace(hibernate_after_s=10.0))
    )


class Hibernation:
    def __init__(self):
        self.asked = []

    async def hibernate(self, container, by):
        self.asked.append((container.name, by))


@dataclass
class World:
    now_s: float = 1000.0
    cpu_percent: float = 0.0
    read_bytes_per_s: float = 0.0
    network_bytes: int = 0
    used: bool = False
    container: Container = field(default_factory=Container)
    hibernation: Hibernation = field(default_factory=Hibernation)

    def __post_init__(self):
        self.policy = IdleSleep([self.container], self.hibernation, lambda _: self.used)

    def sample(self, _id):
        moved = SimpleNamespace(receive_bytes=self.network_bytes, transmit_bytes=0)
        target = SimpleNamespace(id=ID)
        return SimpleNamespace(target=target, full_ns=self.now_s, network=(moved,))

    def rates(self, _id):
        return SimpleNamespace(
            cpu_percent=self.cpu_percent,
            read_bytes_per_s=self.read_bytes_per_s,
            write_bytes_per_s=None,
        )

    async def pass_(self, seconds, **changes):
        for name, value in changes.items():
            setattr(self, name, value)
        for _ in range(seconds):
            self.now_s += 1
            self.policy.ticked(Tick(self.sample, self.rates, frozenset()))
        for task in list(self.policy._tasks.values()):
            await task


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(idle.time, "monotonic", lambda: made.now_s)
    return made


async def test_after_so_long_without_work_it_sleeps(world):
    await world.pass_(10)
    assert world.hibernation.asked == []
    await world.pass_(2)
    assert world.hibernation.asked == [("web", "idle")]
    await world.pass_(8)
    assert len(world.hibernation.asked) == 1
    await world.pass_(4)  # it is awake again, or could not sleep
    assert len(world.hibernation.asked) == 2


@pytest.mark.parametrize(
    "work", [{"cpu_percent": 3.0}, {"read_bytes_per_s": 4096.0}, {"used": True}]
)
async def test_work_begins_the_time_anew(world, work):
    await world.pass_(8)
    await world.pass_(1, **work)
    await world.pass_(9, cpu_percent=0.0, read_bytes_per_s=0.0, used=False)
    assert world.hibernation.asked == []
    await world.pass_(3)
    assert world.hibernation.asked == [("web", "idle")]


async def test_traffic_is_work_and_neighbour_discovery_is_none(world):
    for _ in range(30):
        await world.pass_(1, network_bytes=world.network_bytes + 900)
    assert world.hibernation.asked == []
    for _ in range(14):
        await world.pass_(1, network_bytes=world.network_bytes + 84)
    assert world.hibernation.asked == [("web", "idle")]


async def test_who_did_not_ask_for_it_or_is_frozen_never_does(world):
    world.container.frozen = True
    await world.pass_(30)
    world.container.frozen = False
    world.container.record.config.hibernate_after_s = None
    await world.pass_(30)
    assert world.hibernation.asked == []
