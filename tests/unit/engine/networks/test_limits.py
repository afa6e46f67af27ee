"""Limits of containers' networks, with the kernel's side only noted."""

from dataclasses import replace

import pytest

from cgagent.cgroups import UNLIMITED, Drift, Limits
from cgagent.engine.networks.network import NetworkSpec
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.networking import EndpointSpec
from cgagent.errors import ConflictError, InternalError, UnsupportedError
from cgagent.network.rates import Rates
from tests.world.fakes.agent import over, request, started

pytestmark = pytest.mark.anyio

BRIDGE = (EndpointSpec(network="bridge"),)
NOTHING = Conveniences()
M = 10**6


def host_names(engine, container):
    return [e.host_name for e in engine.networks.endpoints.of(container.id)]


def rates(engine, world, container):
    return [world.wiring.rates(name) for name in host_names(engine, container)]


async def update(engine, container, **limits):
    await engine.control.update(container, Limits(**limits), NOTHING)


async def test_a_link_is_limited_before_the_command_runs(engine, world):
    limits = Limits(net_rate_in_bits=5 * M, net_priority=6)
    asked = request("one", networks=BRIDGE)
    container = await engine.lifecycle.create(replace(asked, limits=limits))
    assert world.wiring.held == {}
    await engine.lifecycle.start(container)
    assert rates(engine, world, container) == [Rates(incoming=5 * M, outgoing=UNLIMITED)]
    (address,) = engine.networks.endpoints.of(container.id)[0].addresses
    assert world.wiring.priorities == {address: 6}
    held = engine.control.held_limits(container)
    assert (held.net_rate_in_bits, held.net_rate_out_bits, held.net_priority) == (5 * M, None, 6)
    world.supervisor.end(container.id)
    await over(container)
    assert world.wiring.priorities == {address: 0}


async def test_changed_while_it_runs_and_connected_to_another_network(engine, world):
    container = await started(engine, "one", networks=BRIDGE)
    await update(engine, container, net_rate_out_bits=M, net_rate_in_bits=2 * M)
    assert rates(engine, world, container) == [Rates(incoming=2 * M, outgoing=M)]
    await engine.networks.create(NetworkSpec(name="blue"))
    await engine.membership.connect(container, EndpointSpec(network="blue"))
    assert rates(engine, world, container) == 2 * [Rates(incoming=2 * M, outgoing=M)]
    await update(engine, container, net_rate_out_bits=UNLIMITED)
    assert rates(engine, world, container) == 2 * [Rates(incoming=2 * M, outgoing=UNLIMITED)]


async def test_one_interface_that_differs_is_drift(engine, world):
    container = await started(engine, "one", networks=BRIDGE)
    await engine.networks.create(NetworkSpec(name="blue"))
    await engine.membership.connect(container, EndpointSpec(network="blue"))
    await update(engine, container, net_rate_in_bits=2 * M)
    world.wiring.held[host_names(engine, container)[1]] = Rates(incoming=M, outgoing=UNLIMITED)
    held = engine.control.held_limits(container)
    assert container.record.limits.diff(held) == (Drift("net_rate_in_bits", 2 * M, M),)


async def test_an_update_that_fails_leaves_the_links_as_they_were(engine, world):
    container = await started(engine, "one", networks=BRIDGE)
    await update(engine, container, net_rate_in_bits=2 * M)
    path, limit = container.record.cgroup_path, world.wiring.limit

    def refused(names, wanted):
        limit(names, wanted)
        if wanted.incoming == M:
            raise UnsupportedError("the kernel has no ifb")

    world.wiring.limit = refused
    with pytest.raises(UnsupportedError, match="no ifb"):
        await update(engine, container, net_rate_in_bits=M, net_rate_out_bits=M, pids_max=7)
    assert rates(engine, world, container) == [Rates(incoming=2 * M, outgoing=UNLIMITED)]
    assert container.record.limits == Limits(net_rate_in_bits=2 * M)
    assert world.tree.held(path, "pids.max") != "7"


async def test_a_start_whose_link_cannot_be_limited_fails(engine, world):
    container = await engine.lifecycle.create(
        replace(request("one", networks=BRIDGE), limits=Limits(net_rate_in_bits=M))
    )

    def refused(names, wanted):
        raise InternalError("the kernel refuses")

    world.wiring.limit = refused
    with pytest.raises(InternalError, match="the kernel refuses"):
        await engine.lifecycle.start(container)
    assert [e.host_name for e in engine.networks.endpoints.of(container.id)] == [None]


@pytest.mark.parametrize(
    ("network", "limits", "reason"),
    [
        ("host", Limits(net_rate_in_bits=M), "--network host: the interfaces are the host's"),
        ("none", Limits(net_rate_out_bits=M), "no network: it has no interface"),
        ("none", Limits(net_priority=1), "limit net_priority and no network"),
        ("container:other", Limits(net_priority=1), "interfaces are that container's"),
    ],
)
async def test_refused_by_name_where_there_is_no_interface(engine, network, limits, reason):
    await started(engine, "other", networks=BRIDGE)
    asked = request("one", networks=(EndpointSpec(network=network),))
    with pytest.raises(ConflictError, match=reason):
        await engine.lifecycle.create(replace(asked, limits=limits))
    container = await engine.lifecycle.create(asked)
    with pytest.raises(ConflictError, match=reason):
        await engine.control.update(container, limits, NOTHING)
    assert container.record.limits == Limits()
    await update(engine, container, net_rate_in_bits=UNLIMITED)


async def test_the_priority_of_one_with_the_hosts_network_is_its_cgroups(engine):
    asked = request("one", networks=(EndpointSpec(network="host"),))
    with pytest.raises(UnsupportedError, match="this host has no net_prio cgroup controller"):
        await engine.lifecycle.create(replace(asked, limits=Limits(net_priority=3)))


async def test_the_next_agent_mends_what_was_changed_meanwhile(world):
    async with world.agent() as engine:
        one = await started(engine, "one", networks=BRIDGE)
        other = await started(engine, "other", networks=BRIDGE)
        await update(engine, one, net_rate_in_bits=M)
        (mine,), (others,) = host_names(engine, one), host_names(engine, other)
    world.wiring.held[mine] = Rates(incoming=7 * M, outgoing=UNLIMITED)
    world.wiring.held[others] = Rates(incoming=UNLIMITED, outgoing=7 * M)  # cut short
    async with world.agent():
        assert world.wiring.held[mine] == Rates(incoming=M, outgoing=UNLIMITED)
        assert world.wiring.held[others] == Rates(incoming=UNLIMITED, outgoing=UNLIMITED)
