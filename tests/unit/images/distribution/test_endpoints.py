from __future__ import annotations

import pytest

from cgagent.config import Settings
from cgagent.images.distribution.endpoints import Endpoint, is_insecure, is_loopback


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "localhost:1"])
def test_loopback_is_always_insecure(address):
    assert is_loopback(address)
    assert is_insecure(address, ())


@pytest.mark.parametrize(
    ("address", "entries", "insecure"),
    [
        ("reg.example:5000", ("reg.example",), True),
        ("reg.example:5000", ("reg.example:5000",), True),
        ("reg.example:5001", ("reg.example:5000",), False),
        ("reg.example", ("example",), False),
        ("10.1.2.3:5000", ("10.0.0.0/8",), True),
        ("11.1.2.3:5000", ("10.0.0.0/8",), False),
        ("[fd00::1]:5000", ("fd00::/8",), True),
        ("quay.io", Settings().insecure_registries, False),
    ],
)
def test_what_the_settings_make_insecure(address, entries, insecure):
    assert is_insecure(address, entries) is insecure


def test_plain_http_is_tried_only_where_it_may_be():
    assert Endpoint.of("quay.io", ()).bases == ("https://quay.io",)
    assert Endpoint.of("r:5", ("r:5",)).bases == ("https://r:5", "http://r:5")
    assert Endpoint.of("https://mirror.example/x/", ()).bases == ("https://mirror.example/x",)
    assert Endpoint.of("http://mirror.example", ()).bases == ("http://mirror.example",)
