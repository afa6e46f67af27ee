"""Hosts that are ours, and pages that are not."""

import socket

import pytest
from starlette.datastructures import Headers

from cgagent.api.access.origins import Origins
from cgagent.errors import DeniedError

OURS = Origins(["agent.example"])


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:80", "[::1]:9753", "[::1]", "localhost", "LOCALHOST:1"),
        *("10.1.2.3:2376", "agent.example:2376", "Agent.Example", socket.gethostname()),
    ],
)
def test_hosts_that_are_ours(host):
    OURS.check(Headers({"host": host}), by_name=True)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "", "localhost.evil.example", "127.0.0.1.evil.example", "agent.example."),
        *("agent.example@evil.example", "[evil.example]:80", "127.0.0.1, evil", "1", "2130706433"),
    ],
)
def test_hosts_that_are_not(host):
    with pytest.raises(DeniedError, match="is no name of this agent's"):
        OURS.check(Headers({"host": host}), by_name=True)


@pytest.mark.parametrize("host", ["", "docker", "d", "api.moby.localhost", "cgagent:80", "agent."])
def test_any_word_is_a_name_of_the_socket(host):
    OURS.check(Headers({"host": host}), by_name=False)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9754", "localhost.evil.example"])
def test_a_name_of_the_internet_is_none_of_the_socket(host):
    with pytest.raises(DeniedError, match="is no name of this agent's"):
        OURS.check(Headers({"host": host}), by_name=False)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_pages_of_others(headers, by_name):
    with pytest.raises(DeniedError, match="pages of others"):
        OURS.check(Headers({"host": "127.0.0.1", **headers}), by_name=by_name)


def test_our_own_page():
    headers = {"host": "127.0.0.1:80", "origin": "http://127.0.0.1:80"}
    OURS.check(Headers({**headers, "sec-fetch-site": "same-origin"}), by_name=True)
