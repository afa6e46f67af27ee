"""The host's servers, whenever they change."""

import os

import pytest

from cgagent.network.names.resolvers import HostResolvers, usable


@pytest.fixture
def files(tmp_path):
    return tmp_path / "resolv.conf", tmp_path / "resolved.conf"


def write(file, text):
    """As programs do it that want it whole."""
    (file.parent / "new").write_text(text)
    os.replace(file.parent / "new", file)


def test_they_are_read_again_when_they_change(files):
    host = HostResolvers(*map(str, files))
    assert host.servers() == ()
    write(files[0], "# x\nnameserver 10.0.0.1\n nameserver fe80::1%eth0\nsearch a\nnameserver\n")
    assert host.servers() == ("10.0.0.1", "fe80::1%eth0")
    write(files[0], "nameserver 10.0.0.2\nnameserver nonsense\n")
    assert host.servers() == ("10.0.0.2",)
    files[0].unlink()
    assert host.servers() == ()


def test_those_behind_systemd_resolved(files):
    host = HostResolvers(*map(str, files))
    write(files[0], "nameserver 127.0.0.53\n")
    assert host.servers() == ("127.0.0.53",)
    write(files[1], "nameserver 10.0.0.3\n")
    assert host.servers() == ("10.0.0.3",)


def test_no_more_than_three():
    assert usable(tuple(f"10.0.0.{n}" for n in range(9))) == ("10.0.0.0", "10.0.0.1", "10.0.0.2")
    assert usable(("x", "::1")) == ("::1",)
