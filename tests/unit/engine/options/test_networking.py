"""What a container may ask of networks."""

import pytest

from cgagent.bounds import MOST
from cgagent.engine.options import networking
from cgagent.engine.options.networking import EndpointSpec, Networking, PortSpec
from cgagent.errors import ConflictError, InvalidInputError, UnsupportedError


def asked(*networks, **more):
    specs = tuple(n if isinstance(n, EndpointSpec) else EndpointSpec(network=n) for n in networks)
    return Networking(networks=specs, **more)


@pytest.mark.parametrize(
    ("networks", "mode", "places"),
    [
        ((), "", ["bridge"]),
        (("none",), "", []),
        (("host",), "host", []),
        (("container:web",), "container:web", []),
        (("blue", "red"), "", ["blue", "red"]),
    ],
)
def test_where_it_is(networks, mode, places):
    assert networking.mode(asked(*networks)) == mode
    assert [e.network for e in networking.places(asked(*networks))] == places


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (asked("host", "blue"), ConflictError),
        (asked("blue", "none"), ConflictError),
        (asked(EndpointSpec(network="host", address="10.0.0.1")), ConflictError),
        (asked(EndpointSpec(network="none", aliases=("a",))), ConflictError),
        (asked("container:web", ports=(PortSpec(container_port=80),)), ConflictError),
        (asked("none", ports=(PortSpec(container_port=80),)), ConflictError),
        (asked("blue", "blue"), InvalidInputError),
        (asked(""), InvalidInputError),
        (asked(EndpointSpec(network="a", address="10.0.0.256")), InvalidInputError),
        (asked(EndpointSpec(network="a", address="fd00::1")), InvalidInputError),
        (asked(EndpointSpec(network="a", address6="10.0.0.1")), InvalidInputError),
        (asked(EndpointSpec(network="a", mac="02:42:ac:11:00")), InvalidInputError),
        (asked(EndpointSpec(network="a", mac="03:42:ac:11:00:02")), InvalidInputError),
        (asked(EndpointSpec(network="a", aliases=("a b",))), InvalidInputError),
        (asked(EndpointSpec(network="a", links=("web:a\nb",))), InvalidInputError),
        (asked(ports=(PortSpec(container_port=0),)), InvalidInputError),
        (asked(ports=(PortSpec(container_port=65536),)), InvalidInputError),
        (asked(ports=(PortSpec(container_port=80, protocol="icmp"),)), InvalidInputError),
        (asked(ports=(PortSpec(container_port=80, host_port=70000),)), InvalidInputError),
        (
            asked(ports=(PortSpec(container_port=8, host_port=9, host_port_last=8),)),
            InvalidInputError,
        ),
        (asked(EndpointSpec(network="a", address6="fd00::9%eth0")), InvalidInputError),
        (
            asked(EndpointSpec(network="a", driver_options={"com.docker.network.x": "y"})),
            UnsupportedError,
        ),
        (asked(EndpointSpec(network="a", aliases=("x" * 254,))), InvalidInputError),
        (asked(EndpointSpec(network="a", aliases=("x" * 200,) * 1000)), InvalidInputError),
        (asked(ports=(PortSpec(container_port=80, host_address="x"),)), InvalidInputError),
        (asked(ports=(PortSpec(container_port=80, host_address="fe80::1%lo"),)), InvalidInputError),
        (
            asked(ports=(PortSpec(container_port=80, host_address="::1", protocol="sctp"),)),
            UnsupportedError,
        ),
        (asked(ports=(PortSpec(container_port=80, host_address="224.0.0.1"),)), InvalidInputError),
        (
            asked(ports=(PortSpec(container_port=80, host_address="255.255.255.255"),)),
            InvalidInputError,
        ),
        (asked(exposed_ports=("\u0668\u0660",)), InvalidInputError),
        (asked(exposed_ports=("80/icmp",)), InvalidInputError),
        (asked(exposed_ports=("81-80",)), InvalidInputError),
    ],
)
def test_what_is_refused(wanted, error):
    with pytest.raises(error):
        networking.checked(wanted)


def test_one_spelling():
    spec = EndpointSpec(network="a", mac="02-42-AC-11-00-02", address6="FD00:0::1")
    found = networking.checked(
        asked(spec, ports=(PortSpec(container_port=1, host_address="[FD00:0::1]"),))
    )
    assert found.networks[0].mac == "02:42:ac:11:00:02"
    assert found.networks[0].address6 == "fd00::1"
    assert found.ports[0].host_address == "fd00::1"
    assert networking.checked(asked("default")).networks == asked("bridge").networks
    mapped = asked(ports=(PortSpec(container_port=1, host_address="::ffff:127.0.0.1"),))
    assert networking.checked(mapped).ports[0].host_address == "127.0.0.1"


def test_every_exposed_port_is_published_once():
    port = PortSpec(container_port=80, host_port=8080)
    wanted = asked(ports=(port,), publish_all=True, exposed_ports=("90-91/udp", "80"))
    assert networking.published(wanted, ("80/tcp", "443", "90/udp")) == (
        port,
        PortSpec(container_port=443),
        PortSpec(container_port=90, protocol="udp"),
        PortSpec(container_port=91, protocol="udp"),
    )
    assert networking.published(asked(ports=(port,)), ("443/tcp",)) == (port,)


def test_an_image_that_exposes_everything():
    with pytest.raises(InvalidInputError, match=f"more than {MOST}"):
        networking.published(asked(publish_all=True), ("1-65535",))
