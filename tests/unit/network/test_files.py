from ipaddress import ip_address

import pytest

from cgagent.errors import InvalidInputError
from cgagent.network import files
from cgagent.network.files import NameLookup


def test_nothing_asked():
    assert files.resolv_conf("none", NameLookup()) == ""
    assert files.hosts("none", "box", "", NameLookup()).splitlines()[-1] == "127.0.1.1\tbox"
    assert files.hosts("none", "box", "d.e", NameLookup()).splitlines()[-1] == (
        "127.0.1.1\tbox.d.e box"
    )


def test_lines_of_the_users(monkeypatch):
    monkeypatch.setattr(
        files, "_read", lambda _: "# ours\nnameserver 1.1.1.1\nsearch a\noptions x\n"
    )
    lookup = NameLookup(dns=("2.2.2.2", "3.3.3.3"), dns_search=("b", "c"))
    assert files.resolv_conf("host", lookup).splitlines() == [
        *("# ours", "options x", "nameserver 2.2.2.2", "nameserver 3.3.3.3", "search b c"),
    ]
    none = files.resolv_conf("host", NameLookup(dns_search=(".",)))
    assert none.splitlines() == ["# ours", "nameserver 1.1.1.1", "options x"]
    assert files.resolv_conf("host", NameLookup()).count("\n") == 4


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("db:10.0.0.1", "10.0.0.1\tdb"),
        ("db=10.0.0.1", "10.0.0.1\tdb"),
        ("db:::1", "::1\tdb"),
        ("db=[FE80::0:1]", "fe80::1\tdb"),
    ],
)
def test_hosts(text, line):
    lookup = NameLookup(extra_hosts=files.checked_hosts(NameLookup(extra_hosts=(text,))))
    assert files.hosts("none", "box", "", lookup).splitlines()[-1] == line
    assert files.checked_hosts(lookup) == lookup.extra_hosts


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_hosts": ("",)},
        {"extra_hosts": ("db",)},
        {"extra_hosts": (":1.1.1.1",)},
        {"extra_hosts": ("a b:1.1.1.1",)},
        {"extra_hosts": ("a:1.1.1",)},
        {"extra_hosts": ("a:1.1.1.1\n2.2.2.2 b",)},
        {"dns": ("x",)},
        {"dns": ("",)},
        {"dns_search": ("a\nnameserver 6.6.6.6",)},
        {"dns_options": ("",)},
    ],
)
def test_what_would_be_no_line(wrong):
    with pytest.raises(InvalidInputError):
        files.checked_hosts(NameLookup(**wrong))


def test_the_host_as_the_container_reaches_it():
    lookup = NameLookup(extra_hosts=("gate:host-gateway", "other:10.0.0.9"))
    assert files.checked_hosts(lookup) == lookup.extra_hosts
    before = files.hosts("bridge", "web", "", lookup)
    assert "gate" not in before, "it is not in its network yet"
    after = files.hosts(
        "bridge", "web", "", lookup, [ip_address("10.0.0.2")], gateway=ip_address("10.0.0.1")
    )
    assert after.endswith("10.0.0.2\tweb\n10.0.0.1\tgate\n10.0.0.9\tother\n")


@pytest.mark.parametrize(
    ("hosts_own", "stub", "seen"),
    [
        ("nameserver 10.0.0.1\nsearch lan\n", "", "nameserver 10.0.0.1\nsearch lan\n"),
        ("nameserver 127.0.0.53\nsearch lan\n", "nameserver 10.0.0.2\n", "nameserver 10.0.0.2\n"),
        ("nameserver ::1\nnameserver 10.0.0.3\n", "", "nameserver 10.0.0.3\n"),
        ("nameserver 127.0.0.53\n", "", ""),
        ("nameserver fe80::1%eth0\n", "", "nameserver fe80::1%eth0\n"),
    ],
)
def test_servers_on_the_hosts_loopback_are_left_out(monkeypatch, hosts_own, stub, seen):
    there = {"/etc/resolv.conf": hosts_own}
    monkeypatch.setattr(files, "_read", lambda path: there.get(path, stub))
    assert files.resolv_conf("bridge", NameLookup()) == seen
