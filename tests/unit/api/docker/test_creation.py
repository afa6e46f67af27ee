"""Docker's request to create a container, as the engine's."""

from __future__ import annotations

import pytest

from cgagent.api.docker import creation, resources, schemas, versions
from cgagent.api.docker.errors import RefusedError
from cgagent.cgroups import UNLIMITED, IoMax, Limits
from cgagent.errors import InvalidInputError, UnsupportedError


def made(version=versions.NEWEST, **body):
    body = schemas.CreateBody.model_validate({"Image": "alpine", **body})
    return creation.request(body, "/name", "", version)


def config(**body):
    return made(**body).config


def test_what_is_left_out_is_not_asked_for():
    request = made(HostConfig={"Memory": 0, "NanoCpus": 0, "PidsLimit": 0, "OomKillDisable": False})
    assert request.limits == Limits()
    assert request.name == "name"
    assert request.config.networks[0].network == "bridge"


def test_limits():
    request = made(
        HostConfig={
            "Memory": 64 << 20,
            "MemorySwap": -1,
            "NanoCpus": 500_000_000,
            "PidsLimit": -1,
            "CpuShares": 512,
            "CpusetCpus": "0",
        }
    )
    assert request.limits == Limits(
        memory_max_bytes=64 << 20, pids_max=UNLIMITED, cpu_shares=512, cpuset_cpus="0"
    )
    assert (request.conveniences.cpus, request.conveniences.memory_swap_bytes) == (0.5, -1)


def test_an_entrypoint_may_be_taken_away():
    assert config().entrypoint is None
    assert config(Entrypoint=[""]).entrypoint == ()
    assert config(Entrypoint="sh").entrypoint == ("sh",)


def test_ports():
    ports = config(
        HostConfig={
            "PortBindings": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostPort": "90-99"}],
                "53/udp": None,
                "7-8": [],
            }
        }
    ).ports
    assert [(p.container_port, p.protocol, p.host_port, p.host_port_last) for p in ports] == [
        *((80, "tcp", 8080, 0), (80, "tcp", 90, 99), (53, "udp", 0, 0)),
        *((7, "tcp", 0, 0), (8, "tcp", 0, 0)),
    ]


def test_the_network_of_the_mode_is_the_first():
    networks = config(
        HostConfig={"NetworkMode": "mine", "Links": ["a:b"]},
        NetworkingConfig={
            "EndpointsConfig": {
                "other": {"Aliases": ["x"]},
                "mine": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}},
            }
        },
    ).networks
    assert [(n.network, n.address, n.aliases, n.links) for n in networks] == [
        ("mine", "10.0.0.9", (), ("a:b",)),
        ("other", "", ("x",), ()),
    ]
    assert config(NetworkDisabled=True).networks[0].network == "none"


def test_a_containers_mac_address_is_of_older_versions():
    assert made((1, 51), MacAddress="02:00:00:00:00:01").config.networks[0].mac
    assert not made((1, 52), MacAddress="02:00:00:00:00:01").config.networks[0].mac


def test_a_volume_of_its_own_where_nothing_else_is():
    asked = config(Volumes={"/a": {}, "/b": {}}, HostConfig={"Binds": ["/host:/a"]})
    assert [m.destination for m in asked.mounts] == ["/b"]
    assert asked.binds == ("/host:/a",)


def test_nothing_masked_is_an_option():
    shows = config(HostConfig={"MaskedPaths": [], "ReadonlyPaths": []})
    assert shows.security_opt == ("systempaths=unconfined",)
    assert config(HostConfig={"MaskedPaths": None}).security_opt == ()


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ({"DeviceRequests": [{}]}, UnsupportedError),
        ({"MaskedPaths": ["/proc"]}, UnsupportedError),
        ({"Mounts": [{"Type": "npipe", "Target": "/x"}]}, InvalidInputError),
        ({"StorageOpt": {"other": "1"}}, InvalidInputError),
        ({"PortBindings": {"x": None}}, InvalidInputError),
        ({"LogConfig": {"Type": "splunk"}}, RefusedError),
        ({"Memory": -7}, InvalidInputError),
    ],
)
def test_what_cannot_be_had_is_refused(host, error):
    with pytest.raises(error):
        made(HostConfig=host)


def test_what_the_kernel_has_no_more_is_left_out_with_a_warning():
    asked = {"OomKillDisable": True, "MemorySwappiness": 10}
    on_v1, on_v2 = (schemas.ResourcesBody.model_validate(asked) for _ in range(2))
    assert resources.discarded(on_v1, has_v1_memory=True) == []
    assert resources.limits(on_v1)[0] == Limits(oom_kill_disable=True, memory_swappiness=10)
    assert len(resources.discarded(on_v2, has_v1_memory=False)) == 2
    assert resources.limits(on_v2)[0] == Limits()


def test_an_update_of_one_kind_of_limit_of_devices_leaves_the_others():
    body = schemas.UpdateBody.model_validate({"BlkioDeviceReadBps": []})
    now = Limits(io_max=(IoMax(major=8, minor=0, rbps=100, wbps=200),))
    asked, _ = resources.limits(body, current=now)
    assert asked.io_max == (IoMax(major=8, minor=0, rbps=UNLIMITED, wbps=200),)
    assert resources.limits(body, current=now, devices=False)[0].io_max is None
    nothing = schemas.UpdateBody.model_validate({})
    assert resources.limits(nothing, current=now)[0].io_max is None
