"""Containers' places in networks: leases, links and ports, with the kernel's side only noted."""

import asyncio
import ipaddress
import threading
from dataclasses import replace

import pytest

from cgagent.engine.networks.spec import NetworkSpec, SubnetSpec
from cgagent.engine.options.networking import EndpointSpec, PortSpec
from cgagent.errors import ConflictError, InternalError, InvalidInputError, NotFoundError
from cgagent.store.networks import NetworkRows
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio

BRIDGE = (EndpointSpec(network="bridge"),)


def web(port=80, host_port=8080, **more):
    return PortSpec(container_port=port, host_port=host_port, **more)


def addresses(engine, container):
    return [str(a) for e in engine.networks.endpoints.of(container.id) for a in e.addresses]


def rows(engine):
    """Leases and ports as the database has them."""
    found = NetworkRows(engine.database)
    return [r.address for r in found.endpoints() if r.address], [r.host_port for r in found.ports()]


async def test_an_address_is_a_lease_of_a_run(engine, world):
    container = await engine.lifecycle.create(request("one", networks=BRIDGE))
    assert rows(engine) == ([], [])
    assert world.wiring.bridges == {}, "nobody has needed it yet"
    await engine.lifecycle.start(container)
    assert addresses(engine, container) == ["172.28.0.2"]
    assert rows(engine) == (["172.28.0.2"], [])
    (link,) = world.wiring.attached.values()
    assert (link.bridge, link.name, link.mac) == ("cgagent0", "eth0", "02:42:ac:1c:00:02")
    assert str(link.addresses[0]) == "172.28.0.2/20"
    assert [str(g) for g in link.gateways] == ["172.28.0.1"]
    assert link.mtu == 1400, "as the host's way out"
    hosts = (engine.lifecycle.bundle(container.id).path / "hosts").read_text()
    assert f"172.28.0.2\t{container.id[:12]}\n" in hosts
    world.supervisor.end(container.id)
    await over(container)
    assert addresses(engine, container) == []
    assert rows(engine) == ([], [])
    await until(lambda: not world.wiring.attached)


async def test_the_next_one_has_another_address(engine, world):
    given = []
    for number in range(3):
        container = await started(engine, f"c{number}", networks=BRIDGE, auto_remove=True)
        given += addresses(engine, container)
        world.supervisor.end(container.id)
        await until(lambda one=container: one.removed)
    assert given == ["172.28.0.2", "172.28.0.3", "172.28.0.4"]
    assert NetworkRows(engine.database).endpoints() == []


async def test_a_start_that_fails_gives_all_back(engine, world):
    world.wiring.refusal = InternalError("the kernel refuses")
    container = await engine.lifecycle.create(request("one", networks=BRIDGE, ports=(web(),)))
    with pytest.raises(InternalError, match="the kernel refuses"):
        await engine.lifecycle.start(container)
    assert rows(engine) == ([], [])
    world.wiring.refusal = None
    await engine.lifecycle.start(container)
    assert rows(engine)[1] == [8080]


async def test_a_port_is_one_containers(engine, world):
    one = await started(engine, "one", networks=BRIDGE, ports=(web(),))
    other = await engine.lifecycle.create(
        request("other", networks=BRIDGE, ports=(web(81, 9090), web()))
    )
    with pytest.raises(ConflictError, match="port 8080"):
        await engine.lifecycle.start(other)
    assert rows(engine) == (["172.28.0.2"], [8080])
    assert {p.host_port for p in world.wiring.reserved} == {8080}
    world.supervisor.end(one.id)
    await over(one)
    assert world.wiring.publications == set()
    await engine.lifecycle.start(other)
    assert sorted(rows(engine)[1]) == [8080, 9090]


async def test_ports_that_are_left_open(engine, world):
    world.wiring.taken_ports = {9000, 9001}
    ports = (web(80, 0), web(81, 9000, host_port_last=9002))
    container = await started(engine, "one", networks=BRIDGE, ports=ports)
    found = {p.container_port: p for p in engine.networks.endpoints.ports.of(container.id)}
    assert found[81].host_port == 9002
    assert found[80].host_port not in {0, 9000, 9001, 9002}
    assert found[80].host_text == ipaddress.ip_address(0).compressed


async def test_an_address_that_was_asked_for_goes_to_nobody_who_did_not(engine, world):
    subnet = SubnetSpec(subnet="10.7.0.0/24", ip_range="10.7.0.128/25")
    await engine.networks.create(NetworkSpec(name="blue", subnets=(subnet,)))
    fixed = (EndpointSpec(network="blue", address="10.7.0.9"),)
    container = await started(engine, "one", networks=fixed)
    world.supervisor.end(container.id)
    await over(container)
    assert rows(engine) == ([], [])
    outside = (EndpointSpec(network="blue", address="10.8.0.9"),)
    with pytest.raises(InvalidInputError, match=r"not in a subnet of network blue"):
        await engine.lifecycle.create(request("two", networks=outside))
    free = await started(engine, "free", networks=(EndpointSpec(network="blue"),))
    assert addresses(engine, free) == ["10.7.0.128"]
    first = (EndpointSpec(network="blue", address="10.7.0.129"),)
    created = await engine.lifecycle.create(request("created", networks=first))
    free = await started(engine, "other", networks=(EndpointSpec(network="blue"),))
    assert addresses(engine, free) == ["10.7.0.130"]
    for one in (container, created):
        await engine.lifecycle.start(one)
    assert addresses(engine, container) == ["10.7.0.9"]
    assert addresses(engine, created) == ["10.7.0.129"]


async def test_a_container_takes_the_address_of_the_one_it_replaces(engine, world):
    """As Compose does it: the new one is made while the old one runs."""
    subnet = SubnetSpec(subnet="10.7.0.0/24")
    await engine.networks.create(NetworkSpec(name="blue", subnets=(subnet,)))
    fixed = (EndpointSpec(network="blue", address="10.7.0.9"),)
    old = await started(engine, "old", networks=fixed)
    new = await engine.lifecycle.create(request("new", networks=fixed))
    with pytest.raises(ConflictError, match=r"address 10\.7\.0\.9 of network blue is already"):
        await engine.lifecycle.start(new)
    assert rows(engine) == (["10.7.0.9"], [])
    world.supervisor.end(old.id)
    await over(old)
    await engine.lifecycle.start(new)  # the link of the old one is still on its way out
    assert addresses(engine, new) == ["10.7.0.9"]
    await engine.lifecycle.remove(old)
    free = await started(engine, "free", networks=(EndpointSpec(network="blue"),))
    assert addresses(engine, free) != ["10.7.0.9"]


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("10.7.0.0", InvalidInputError),
        ("10.7.0.255", InvalidInputError),
        ("10.7.0.1", ConflictError),
        ("10.7.0.77", ConflictError),
    ],
)
async def test_an_address_that_no_container_can_have(engine, world, address, error):
    subnet = SubnetSpec(subnet="10.7.0.0/24", aux_addresses={"printer": "10.7.0.77"})
    await engine.networks.create(NetworkSpec(name="blue", subnets=(subnet,)))
    with pytest.raises(error, match=address):
        await engine.lifecycle.create(
            request(networks=(EndpointSpec(network="blue", address=address),))
        )


async def test_a_mac_address_that_somebody_has(engine, world):
    subnet = SubnetSpec(subnet="10.7.0.0/24")
    await engine.networks.create(NetworkSpec(name="blue", subnets=(subnet,)))
    await started(engine, "one", networks=(EndpointSpec(network="blue"),))
    await started(engine, "two", networks=(EndpointSpec(network="blue", mac="02:00:00:00:00:02"),))
    for mac in ("02:42:0a:07:00:01", "02:42:0a:07:00:02", "02:00:00:00:00:02"):
        wanted = EndpointSpec(network="blue", mac=mac)
        with pytest.raises(ConflictError, match=f"MAC address {mac} is in use in network blue"):
            await engine.lifecycle.create(request(networks=(wanted,)))


async def test_several_networks_and_which_has_the_way_out(engine, world):
    for spec in (NetworkSpec(name="in", internal=True), NetworkSpec(name="blue", ipv6=True)):
        await engine.networks.create(spec)
    places = (
        EndpointSpec(network="in"),
        EndpointSpec(network="bridge"),
        EndpointSpec(network="blue", gateway_priority=1, mac="02:00:00:00:00:07"),
    )
    await started(engine, "one", networks=places)
    links = {link.name: link for link in world.wiring.attached.values()}
    assert [bool(links[name].gateways) for name in ("eth0", "eth1", "eth2")] == [False, False, True]
    assert links["eth2"].mac == "02:00:00:00:00:07"
    assert [a.version for a in links["eth2"].addresses] == [4, 6]


async def test_the_next_agent_finds_the_truth(world):
    async with world.agent() as engine:
        runs = await started(engine, "runs", networks=BRIDGE, ports=(web(),))
        ends = await started(engine, "ends", networks=BRIDGE, ports=(web(81, 8081),))
        kept = addresses(engine, runs)
        lost = replace(NetworkRows(engine.database).endpoints()[0], container_id="f" * 64)
        NetworkRows(engine.database).put(replace(lost, address="172.28.0.99"))
    assert world.wiring.attached, "links outlive the agent"
    world.wiring.bridges.clear()
    world.wiring.reserved.clear()
    world.supervisor.end(ends.id)
    async with world.agent() as engine:
        container = engine.containers.find("runs")
        assert addresses(engine, container) == kept
        assert rows(engine) == (kept, [8080])
        assert "cgagent0" in world.wiring.bridges
        assert {p.host_port for p in world.wiring.reserved} == {8080}
        assert {p.host_port for p in world.wiring.publications} == {8080}


async def test_a_zygote_has_its_place_before_its_container(ready_engine, world):
    engine = ready_engine
    await started(engine, "first", networks=BRIDGE)
    await until(lambda: len(world.wiring.attached) >= 3)
    before = dict(world.wiring.attached)
    second = await started(engine, "second", networks=BRIDGE)
    (place,) = engine.networks.endpoints.of(second.id)
    assert place.host_name in before
    users = engine.networks.endpoints.users(place.network_id)
    assert {engine.containers.find(u).name for u in users} == {"first", "second"}


async def test_what_is_made_ready_does_not_keep_an_address(ready_engine, world):
    engine = ready_engine
    subnet = SubnetSpec(subnet="10.7.0.0/29")
    await engine.networks.create(NetworkSpec(name="blue", subnets=(subnet,)))
    there = [await started(engine, "one", networks=(EndpointSpec(network="blue"),))]
    await until(lambda: len(world.wiring.attached) >= 3)
    used = {str(link.addresses[0].ip) for link in world.wiring.attached.values()}
    (ahead, *_) = sorted(used - set(addresses(engine, there[0])))
    asked = EndpointSpec(network="blue", address=ahead)
    there.append(await started(engine, "two", networks=(asked,)))
    blue = (EndpointSpec(network="blue"),)
    there += [await started(engine, name, networks=blue) for name in ("three", "four", "five")]
    given = [address for container in there for address in addresses(engine, container)]
    assert sorted(given) == [f"10.7.0.{n}" for n in range(2, 7)]
    another = await engine.lifecycle.create(request(networks=(EndpointSpec(network="blue"),)))
    with pytest.raises(ConflictError, match="no address of"):
        await engine.lifecycle.start(another)
    await engine.lifecycle.remove(there[0], force=True)
    await engine.lifecycle.start(another)
    assert addresses(engine, another) == given[:1]


async def test_what_is_made_ready_does_not_keep_a_network(ready_engine, world):
    engine = ready_engine
    network = await engine.networks.create(NetworkSpec(name="blue"))
    container = await started(engine, "one", networks=(EndpointSpec(network="blue"),))
    await until(lambda: len(world.wiring.attached) >= 3)
    with pytest.raises(ConflictError, match="network blue has 1 container in it"):
        await engine.networks.remove("blue")
    await engine.lifecycle.remove(container, force=True)
    await engine.networks.remove("blue")
    assert engine.networks.get(network.id) is None
    assert network.plan.interface not in world.wiring.bridges
    await until(lambda: not world.wiring.attached)


async def test_two_who_remove_one_network(ready_engine, world):
    engine = ready_engine
    network = await engine.networks.create(NetworkSpec(name="blue"))
    removals = [engine.networks.remove("blue") for _ in range(2)]
    first, second = await asyncio.gather(*removals, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, NotFoundError), second
    assert engine.networks.get(network.id) is None


async def test_a_network_moves_out_of_the_way_of_the_host(engine, world):
    network = engine.networks.find("bridge")
    world.wiring.subnets.append(ipaddress.ip_network("172.28.0.0/24"))
    world.wiring.interfaces.add("cgagent0")
    container = await started(engine, "one", networks=BRIDGE)
    assert addresses(engine, container) == ["172.28.16.2"]
    assert engine.networks.find("bridge").id == network.id
    assert set(world.wiring.bridges) == {"cgagent1"}


async def test_one_that_was_asked_for_by_its_subnet_does_not(engine, world):
    subnet = SubnetSpec(subnet="10.7.0.0/24")
    await engine.networks.create(NetworkSpec(name="blue", subnets=(subnet,)))
    world.wiring.subnets.append(ipaddress.ip_network("10.0.0.0/8"))
    container = await engine.lifecycle.create(request(networks=(EndpointSpec(network="blue"),)))
    with pytest.raises(ConflictError, match=r"subnet 10\.0\.0\.0/8 is in use on this host"):
        await engine.lifecycle.start(container)


async def test_rules_that_somebody_flushes_are_made_anew(engine, world):
    await started(engine, "one", networks=BRIDGE)
    world.wiring.flush()
    await until(lambda: world.wiring.reloads == 1)


async def test_a_flush_while_rules_are_made_anew_is_mended_too(engine, world, monkeypatch):
    await started(engine, "one", networks=BRIDGE)
    reloading, going_on = threading.Event(), threading.Event()

    def reload():
        world.wiring.reloads += 1
        reloading.set()
        assert going_on.wait(10)

    monkeypatch.setattr(world.wiring, "reload", reload)
    world.wiring.flush()
    await until(reloading.is_set)
    world.wiring.flush()
    await until(lambda: engine.networks._is_changed)
    going_on.set()
    await until(lambda: world.wiring.reloads == 2)


async def test_connected_and_disconnected_while_it_runs(engine, world):
    await engine.networks.create(NetworkSpec(name="blue"))
    container = await started(engine, "one", networks=BRIDGE)
    asked = EndpointSpec(network="blue")
    await engine.membership.connect(container, asked)
    assert {link.name for link in world.wiring.attached.values()} == {"eth0", "eth1"}
    with pytest.raises(ConflictError, match="in network blue already"):
        await engine.membership.connect(container, asked)
    await engine.membership.disconnect(container, "bridge", force=False)
    assert {link.name for link in world.wiring.attached.values()} == {"eth1"}
    with pytest.raises(NotFoundError, match="not in network bridge"):
        await engine.membership.disconnect(container, "bridge", force=False)
    await engine.membership.disconnect(container, "bridge", force=True)
    await engine.membership.connect(container, EndpointSpec(network="bridge"))
    assert {link.name for link in world.wiring.attached.values()} == {"eth0", "eth1"}
    for built_in in ("host", "none"):
        with pytest.raises(ConflictError, match=f"network {built_in} is chosen when a container"):
            await engine.membership.connect(container, EndpointSpec(network=built_in))
    shared = await started(engine, "two", networks=(EndpointSpec(network="host"),))
    with pytest.raises(ConflictError, match="has the network of host"):
        await engine.membership.connect(shared, asked)


async def test_a_connection_that_fails_is_none(engine, world):
    await engine.networks.create(NetworkSpec(name="blue"))
    container = await started(engine, "one", networks=BRIDGE)
    world.wiring.refusal = InternalError("the kernel refuses")
    with pytest.raises(InternalError):
        await engine.membership.connect(container, EndpointSpec(network="blue"))
    assert [e.name for e in engine.networks.endpoints.of(container.id)] == ["eth0"]
    assert len(rows(engine)[0]) == 1


async def test_the_way_out_and_the_ports_are_those_of_a_network_that_is_left(engine, world):
    await engine.networks.create(NetworkSpec(name="blue"))
    places = (EndpointSpec(network="bridge"), EndpointSpec(network="blue"))
    container = await started(engine, "one", networks=places, ports=(web(),))
    blue = engine.networks.find("blue")
    await engine.membership.disconnect(container, "bridge", force=False)
    (link,) = world.wiring.attached.values()
    assert (link.network, len(link.gateways)) == (blue.id, 1)
    (publication,) = world.wiring.publications
    assert (publication.host_port, publication.bridge) == (8080, blue.plan.interface)
    await engine.membership.disconnect(container, "blue", force=False)
    assert world.wiring.publications == set()
