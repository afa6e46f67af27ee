"""A route socket: batches whose answers stay in step, dumps that say what ``ip`` says."""

import json
import threading

import pytest

from cgagent.network import rtmessages as rt
from cgagent.network.netlink import NLM_F_ACK, Message, NetlinkError, text
from cgagent.network.rtnetlink import Route

pytestmark = pytest.mark.system


@pytest.fixture
def route(host):
    found = Route.of(host.fd)
    yield found
    found.close()


def names(host):
    return {link["ifname"] for link in json.loads(host.run("ip", "-j", "link"))}


@pytest.mark.native
def test_a_refused_message_in_the_middle_is_named_and_the_rest_is_in_step(host, route):
    good = [rt.make_link(f"br{n}", "bridge") for n in range(150)]
    bad = rt.make_link("odd", "nothing-like-it")
    with pytest.raises(NetlinkError, match="cannot make the nothing-like-it odd: Operation"
                       r" not supported \(Unknown device type\)") as refused:  # fmt: skip
        route.batch(*good[:100], bad, *good[100:])
    assert refused.value.place == 100
    assert names(host) == {"lo", *(f"br{n}" for n in range(150))}  # it is no transaction
    refusals = route.attempt(*(m for pair in zip(good, [bad] * 150, strict=True) for m in pair))
    assert {r.errno for r in refusals[0::2]} == {17}
    assert {r.errno for r in refusals[1::2]} == {95}


BROKEN = [
    Message(rt.RTM_NEWLINK, b"\0" * 15, what="say too little"),
    Message(rt.RTM_NEWADDR, b"\xff" * 31, what="say too much"),
    Message(rt.RTM_DELLINK, rt.IFINFO.pack(0, 0, 0, 0, 0), what="name nothing"),
    Message(rt.RTM_NEWLINK, rt.IFINFO.pack(0, 0, 0, 0, 0) + text(3, "n" * 40), what="name it long"),
    Message(4000, b"odd", what="ask what nobody knows"),
    Message(rt.RTM_NEWROUTE, rt.RTMSG.pack(2, 99, 0, 0, 0, 0, 0, 0, 0), what="have 99 bits"),
]


@pytest.mark.native
@pytest.mark.parametrize("broken", BROKEN, ids=lambda m: m.what)
def test_a_broken_message_is_refused_and_its_neighbours_are_not(host, route, broken):
    with pytest.raises(NetlinkError, match=f"^cannot {broken.what}: ") as refused:
        route.batch(rt.make_link("a", "bridge"), broken, rt.make_link("b", "bridge"))
    assert refused.value.place == 1
    assert names(host) == {"lo", "a", "b"}


def test_answers_that_an_interrupted_caller_left_unread_are_passed_by(host, route):
    with route._lock:  # as an exception of a signal's would come between the two
        route._send([rt.delete_link("none"), rt.delete_link("none")], NLM_F_ACK)
    route.batch(rt.make_link("a", "bridge"))
    with route._lock:
        route._send([rt.dump_links()], 0x300)
    assert [link.name for link in route.links()] == ["lo", "a"]
    assert route.link("none") is None


def test_threads_share_a_socket(host, route):
    refused = []

    def work(number):
        for n in range(20):
            name = f"br{number}-{n}"
            refused.extend(route.attempt(rt.make_link(name, "bridge")))
            if route.link(name).kind != "bridge":
                refused.append(name)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [None] * 100
    assert len(names(host)) == 101


def test_dumps_say_what_ip_says(host, route):
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "set", "br0", "up", "mtu", "1400", "alias", "an alias, odd: é")
    host.run("ip", "address", "add", "10.1.2.3/24", "dev", "br0")
    host.run("ip", "address", "add", "10.9.9.1", "peer", "10.9.9.2", "dev", "br0")
    host.run("ip", "address", "add", "fd00::3/64", "dev", "br0", "nodad")
    host.run("ip", "route", "add", "10.77.0.0/16", "via", "10.1.2.1", "table", "1234")
    link = route.link("br0")
    assert (link.up, link.kind, link.mtu, link.alias) == (True, "bridge", 1400, "an alias, odd: é")
    assert route.index("br0") == link.index
    assert route.index("none") is None
    (told,) = json.loads(host.run("ip", "-j", "link", "show", "br0"))
    assert (told["ifindex"], told["address"]) == (link.index, link.mac)
    subnets = {str(a.subnet) for a in route.addresses() if a.index == link.index}
    assert {"10.1.2.0/24", "10.9.9.2/32", "fd00::/64"} <= subnets
    routes = {(str(r.destination), r.table, str(r.gateway)) for r in route.routes()}
    assert ("10.77.0.0/16", 1234, "10.1.2.1") in routes
    assert ("fd00::/64", 254, "None") in routes


def test_a_dump_of_many_is_whole(host, route):
    route.batch(*(rt.make_link(f"br{n}", "bridge") for n in range(300)))
    assert {link.name for link in route.links()} == {"lo", *(f"br{n}" for n in range(300))}
    route.batch(*(rt.change_link(f"br{n}", rt.group(77)) for n in range(300)))
    route.batch(rt.delete_group(77))
    assert names(host) == {"lo"}
