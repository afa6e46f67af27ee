"""What is asked for at a container's creation, by docker's command line: it is had, and shown."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.system, pytest.mark.native]


def inspected(docker, name):
    return json.loads(docker("inspect", name))[0]


@pytest.mark.parametrize("network", ["bridge", "own"])
def test_a_link_goes_and_its_containers_stay(docker, agent, network):
    def finds(name):
        return docker("exec", "web", "timeout", "1", "getent", "hosts", name, fails=None)

    docker("network", "create", "own")
    try:
        docker("run", "-d", "--name", "store", "--network", network, "alpine", "sleep", "1000")
        linked = ("--link", "store:db", "--network", network)
        docker("run", "-d", "--name", "web", *linked, "alpine", "sleep", "1000")
        assert finds("db")
        if network == "own":
            docker("rm", "--link", "web/db")
        else:
            assert agent.cli("rm", "--link", "web/db").returncode == 0
        assert finds("db") == ""
        assert inspected(docker, "web")["HostConfig"]["Links"] == []
        assert "no link db" in docker("rm", "--link", "web/db", fails=1)
        assert agent.cli("rm", "--link", "web/db").returncode == 1
        docker("restart", "-t", "0", "web")
        assert finds("db") == ""
        docker("exec", "store", "true")
    finally:
        docker("rm", "-f", "web", "store")
        docker("network", "rm", "own")


def test_link_local_addresses(docker):
    asked = ("--link-local-ip", "169.254.8.8", "--link-local-ip", "fe80::8:8")
    docker("run", "-d", "--name", "near", *asked, "alpine", "sleep", "1000")
    shown = docker("exec", "near", "ip", "address", "show", "eth0")
    assert "169.254.8.8/16" in shown
    assert "fe80::8:8/64" in shown
    place = inspected(docker, "near")["NetworkSettings"]["Networks"]["bridge"]
    assert place["IPAMConfig"] == {"LinkLocalIPs": ["169.254.8.8", "fe80::8:8"]}
    told = docker("run", "--rm", "--link-local-ip", "10.0.0.1", "alpine", "true", fails=125)
    assert "invalid link-local address" in told


def test_options_of_places_that_nobody_knows_are_kept(docker):
    on = "name=bridge,driver-opt={}=on"
    docker("create", "--name", "noted", "--network", on.format("org.example.tier"), "alpine")
    place = inspected(docker, "noted")["NetworkSettings"]["Networks"]["bridge"]
    assert place["DriverOpts"] == {"org.example.tier": "on"}
    acting = on.format("com.docker.network.endpoint.ifname")
    assert "not there yet" in docker("create", "--network", acting, "alpine", fails=1)


def test_a_driver_of_volumes_is_needed_only_by_volumes(docker):
    docker("create", "--name", "bare", "--volume-driver", "far", "alpine")
    assert inspected(docker, "bare")["HostConfig"]["VolumeDriver"] == "far"
    wrong = ("--volume-driver", "far", "-v", "data:/data")
    assert 'plugin "far" not found' in docker("create", *wrong, "alpine", fails=1)


def test_isolation_and_runtime(docker):
    asked = ("--isolation", "default", "--runtime", "runc")
    docker("create", "--name", "plain", *asked, "alpine")
    host = inspected(docker, "plain")["HostConfig"]
    assert (host["Isolation"], host["Runtime"]) == ("default", "runc")
    assert "invalid isolation" in docker("create", "--isolation", "hyperv", "alpine", fails=1)
    assert "runc" in docker("info", "--format", "{{json .Runtimes}}")
