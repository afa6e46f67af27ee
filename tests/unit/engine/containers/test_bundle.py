"""A container's directory, made when it is wanted or ahead of that."""

import os
from ipaddress import ip_address

import pytest

from cgagent.engine.containers.bundle import Bundle, ahead_dir
from cgagent.engine.containers.config import ContainerConfig

ID = "0123456789ab" + "c" * 52
USUAL = (ContainerConfig(image="alpine"), ID[:12])


@pytest.fixture
def bundle(tmp_path):
    return Bundle(tmp_path / "containers", ID)


def texts(bundle):
    return {name: (bundle.path / name).read_text() for name in ("hostname", "hosts", "resolv.conf")}


def test_made_ahead_or_not_it_is_the_same(bundle):
    bundle.make(*USUAL)
    expected = texts(bundle)
    bundle.remove()
    bundle.make_ahead()
    assert not bundle.path.exists()
    files = {name: os.stat(bundle.ahead / name).st_ino for name in expected}
    bundle.make(*USUAL)
    assert texts(bundle) == expected
    assert {name: os.stat(bundle.path / name).st_ino for name in expected} == files
    assert os.listdir(bundle.ahead.parent) == []
    assert bundle.root.is_dir()


def test_what_was_asked_for_is_written_into_the_same_files(bundle):
    bundle.make_ahead()
    before = os.stat(bundle.ahead / "hosts").st_ino
    asked = ContainerConfig(image="alpine", domainname="lan", extra_hosts=("gate:host-gateway",))
    bundle.make(asked, "here")
    assert (bundle.path / "hostname").read_text() == "here\n"
    assert "here" not in (bundle.path / "hosts").read_text()
    own, gateway = ip_address("172.28.0.2"), ip_address("172.28.0.1")
    bundle.write_network_files(asked, "here", [own], gateway, named=True)
    assert "nameserver 127.0.0.11\n" in (bundle.path / "resolv.conf").read_text()
    assert "172.28.0.2\there.lan here\n" in (bundle.path / "hosts").read_text()
    assert "172.28.0.1\tgate\n" in (bundle.path / "hosts").read_text()
    assert os.stat(bundle.path / "hosts").st_ino == before, "a zygote has opened it"


def test_it_is_closed_to_others_and_goes_as_a_whole(bundle):
    bundle.make(*USUAL)
    assert bundle.path.stat().st_mode & 0o777 == 0o700
    bundle.make_ahead()
    bundle.remove()
    assert not bundle.path.exists()
    assert bundle.ahead.exists(), "that one is of whoever made it"
    bundle.drop_ahead()
    bundle.drop_ahead()
    assert not bundle.ahead.exists()


def test_a_directory_in_the_way_is_an_error_and_stays(bundle):
    bundle.path.mkdir(parents=True)
    (bundle.path / "mine").touch()
    bundle.make_ahead()
    with pytest.raises(OSError, match="not empty"):
        bundle.make(*USUAL)


def test_where_they_are(tmp_path):
    assert ahead_dir(tmp_path / "containers") == tmp_path / "ahead"
