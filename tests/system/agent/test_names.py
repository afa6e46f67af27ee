"""Names of containers in user-defined networks, whoever of cgagent's processes dies."""

import os
import re
import signal

import pytest

from tests.world.agent import alive, eventually

pytestmark = pytest.mark.system


def asked(*networks, **more):
    return {"networks": [{"network": network, **more} for network in networks]}


def found(agent, container, name):
    """The addresses that a container finds for a name, with busybox's program."""
    ran = agent.exec(container, "nslookup", name, "127.0.0.11")
    answer = ran.stdout.partition("\n\n")[2]
    return set(re.findall(r"^Address: (\S+)", answer, re.MULTILINE))


def address(agent, container, network):
    return next(
        n["addresses"][0]["address"]
        for n in agent.detail(container)["networks"]
        if n["network"] == network
    )


@pytest.fixture
def blue(own_agent):
    """An agent with a network of its user's, which goes with the containers in it."""
    own_agent.client.request("POST", "/v1/networks", {"name": "blue"})
    yield own_agent
    own_agent.remove_all()


@pytest.mark.native
def test_members_find_each_other(blue):
    web = blue.launch("sleep", "1000", name="web", **asked("blue", aliases=["www"]))
    one = blue.launch("sleep", "1000", name="one", **asked("blue"))
    own = address(blue, web, "blue")
    for name in ("web", "WEB", "web.", "www", web[:12]):
        assert found(blue, one, name) == {own}
    assert blue.exec(one, "ping", "-c1", "-W5", "web").exit_code == 0
    assert "web" in blue.exec(one, "nslookup", own, "127.0.0.11").stdout
    text = blue.exec(one, "cat", "/etc/resolv.conf").stdout
    assert text.startswith("nameserver 127.0.0.11\n")
    assert "ndots:0" in text
    outside = blue.launch("sleep", "1000")
    assert "127.0.0.11" not in blue.exec(outside, "cat", "/etc/resolv.conf").stdout
    blue.remove(web)
    assert found(blue, one, "web") == set()


@pytest.mark.native
def test_names_change_while_they_run(blue):
    blue.client.request("POST", "/v1/networks", {"name": "red"})
    web = blue.launch("sleep", "1000", name="web", **asked("blue"))
    one = blue.launch("sleep", "1000", name="one", **asked("red"))
    assert found(blue, one, "web") == set()
    assert blue.cli("network", "connect", "--alias", "other", "red", web).returncode == 0
    there = address(blue, web, "red")
    assert found(blue, one, "web") == found(blue, one, "other") == {there}
    blue.post(web, "rename?name=site")
    assert found(blue, one, "site") == {there}
    assert found(blue, one, "web") == set()
    assert blue.cli("network", "disconnect", "red", web).returncode == 0
    assert found(blue, one, "site") == set()


@pytest.mark.native
def test_a_link_is_its_containers_alone(blue):
    blue.launch("sleep", "1000", name="db", **asked("blue"))
    one = blue.launch("sleep", "1000", **asked("blue", links=["db:store"]))
    two = blue.launch("sleep", "1000", **asked("blue"))
    assert found(blue, one, "store") == found(blue, two, "db") != set()
    assert found(blue, two, "store") == set()


@pytest.mark.native
@pytest.mark.parametrize("killed", ["agent", "supervisor", "names"])
def test_whoever_dies_names_are_answered(blue, killed):
    web = blue.launch("sleep", "1000", name="web", **asked("blue"))
    one = blue.launch("sleep", "1000", **asked("blue"))
    own = address(blue, web, "blue")
    names = blue.client.request("GET", "/v1/info")["names_pid"]
    if killed == "agent":
        blue.kill9()
        blue.start()
    elif killed == "supervisor":
        blue.kill9_supervisor()
    else:
        os.kill(names, signal.SIGKILL)
    eventually(lambda: found(blue, one, "web") == {own})
    two = blue.launch("sleep", "1000", name="two", **asked("blue"))
    assert found(blue, one, "two") == {address(blue, two, "blue")}
    assert (blue.client.request("GET", "/v1/info")["names_pid"] == names) is (killed != "names")


@pytest.mark.native
def test_the_process_goes_with_the_last_who_needs_it(blue):
    one = blue.launch("sleep", "1000", **asked("blue"))
    names = blue.client.request("GET", "/v1/info")["names_pid"]
    blue.stop()
    assert alive(names)
    blue.start()
    assert found(blue, one, "x") == set()
    blue.remove(one)
    blue.stop()
    eventually(lambda: not alive(names))
    blue.start()
