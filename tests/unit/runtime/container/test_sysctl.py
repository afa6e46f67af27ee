import pytest

from cgagent.errors import InvalidInputError
from cgagent.runtime.container import sysctl

EVERY = frozenset({"network", "ipc", "uts", "user"})


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_both_spellings(name, path):
    assert sysctl.path_of(name) == path
    sysctl.check(name, EVERY)


@pytest.mark.parametrize("name", ["", ".", "net..x", "net/../kernel/core_pattern", "net./.x"])
def test_no_name(name):
    with pytest.raises(InvalidInputError, match="not a name"):
        sysctl.path_of(name)


@pytest.mark.parametrize("name", ["kernel.core_pattern", "vm.overcommit_memory", "fs.file-max"])
def test_what_belongs_to_the_host_is_refused(name):
    with pytest.raises(InvalidInputError, match="belongs to the host"):
        sysctl.check(name, EVERY)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("net.core.somaxconn", "network"), ("kernel.sem", "ipc"), ("fs.mqueue.msg_max", "ipc")],
)
def test_the_namespace_must_not_be_the_hosts(name, kind):
    sysctl.check(name, frozenset({kind}))
    with pytest.raises(InvalidInputError, match=f"needs a {kind} namespace"):
        sysctl.check(name, EVERY - {kind})
