"""Who is told to the names process, and when; the process itself is only noted."""

import pytest

from cgagent.engine.networks.spec import NetworkSpec
from cgagent.engine.options.networking import EndpointSpec
from cgagent.errors import InvalidInputError
from tests.world.fakes.agent import over, started, until

pytestmark = pytest.mark.anyio


def on(*networks, **more):
    return tuple(EndpointSpec(network=network, **more) for network in networks)


@pytest.fixture
async def blue(engine):
    await engine.networks.create(NetworkSpec(name="blue"))
    return engine


async def test_a_member_of_a_users_network_has_names_while_it_runs(blue, world):
    web = await started(blue, "web", networks=on("blue", aliases=("www",)), dns=("10.0.0.53",))
    member = world.names.members[web.id]
    (place,) = member.places
    assert place.names == ("web", web.id[:12], "www")
    assert place.addresses == ("172.28.0.2",)
    assert member.resolvers == ("10.0.0.53",)
    assert member.forwards
    resolver = (blue.lifecycle.bundle(web.id).path / "resolv.conf").read_text()
    assert resolver.startswith("nameserver 127.0.0.11\n")
    world.supervisor.end(web.id)
    await over(web)
    await until(lambda: not world.names.members)


async def test_one_of_the_default_network_has_none(blue, world):
    await started(blue, "web", networks=on("bridge"))
    assert world.names.connections == 0
    with pytest.raises(InvalidInputError, match="alias www is supported only for"):
        await started(blue, "other", networks=on("bridge", aliases=("www",)))


async def test_nothing_is_asked_elsewhere_for_one_without_a_way_out(blue, world):
    await blue.networks.create(NetworkSpec(name="in", internal=True))
    inside = await started(blue, "one", networks=on("in"))
    both = await started(blue, "two", networks=on("in", "bridge"))
    assert not world.names.members[inside.id].forwards
    assert world.names.members[both.id].forwards


async def test_other_names_and_networks_are_told(blue, world):
    web = await started(blue, "web", networks=on("bridge"))
    assert web.id not in world.names.members
    await blue.membership.connect(web, EndpointSpec(network="blue", links=("db:store",)))
    member = world.names.members[web.id]
    assert [(link.alias, link.target) for link in member.links] == [("store", "db")]
    await blue.lifecycle.rename(web, "site")
    assert world.names.members[web.id].places[0].names[0] == "site"
    await blue.membership.disconnect(web, "blue", force=False)
    assert web.id not in world.names.members


async def test_one_that_ends_while_its_names_change(blue, world):
    web = await started(blue, "web", networks=on("blue", "bridge"))
    world.names.gone.add(f"/proc/{web.record.outcome.pid}/ns/net")
    await blue.membership.disconnect(web, "bridge", force=False)
    assert [e.name for e in blue.networks.endpoints.of(web.id)] == ["eth0"]
    await blue.lifecycle.rename(web, "site")
    assert web.name == "site"


async def test_a_process_that_dies_is_followed_by_one_that_knows_all(blue, world):
    web = await started(blue, "web", networks=on("blue"))
    world.names.die()
    await until(lambda: web.id in world.names.members)
    assert world.names.connections == 2
    other = await started(blue, "other", networks=on("blue"))
    assert set(world.names.members) == {web.id, other.id}


async def test_it_outlives_an_agent_as_long_as_somebody_needs_it(world):
    async with world.agent() as engine:
        await engine.networks.create(NetworkSpec(name="blue"))
        web = await started(engine, "web", networks=on("blue"))
    assert world.names.pid is not None
    async with world.agent() as engine:
        assert set(world.names.members) == {web.id}
        await engine.lifecycle.remove(engine.containers.find("web"), force=True)
    assert world.names.pid is None
