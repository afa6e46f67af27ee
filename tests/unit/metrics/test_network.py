import os

import pytest

from cgagent.metrics.network import OF_CONTAINERS, Interface, parse, read

TEXT = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:    1432      17    0    0    0     0          0         0     1432      17    0    0    0
eth0.7:90071992547 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
"""


def test_every_interface_but_the_loopback_in_the_kernels_order():
    (vlan,) = parse(TEXT)
    assert vlan == Interface("eth0.7", 90071992547, 2, 3, 4, 9, 10, 11, 12)


@pytest.mark.parametrize("name", ["veth1f0c", "cgagent0", "cg0123456789a", "cgr0123456789a"])
def test_of_the_machine_the_ends_of_containers_interfaces_are_not_there(name):
    assert parse(TEXT.replace("eth0.7", name), OF_CONTAINERS) == ()
    assert len(parse(TEXT, OF_CONTAINERS)) == 1


def test_a_namespace_that_is_shared_is_not_the_containers():
    assert read(os.getpid()) is None
    assert read(2**22 - 1) is None
