"""What Docker's clients send, read by docker's rules."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from cgagent.api.docker import schemas, versions
from cgagent.api.docker.calls import Call
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.filters import Filters
from cgagent.api.docker.routing import Route, Table
from cgagent.errors import InvalidInputError


def call(query="", body=b"", version=versions.NEWEST):
    sent = [{"type": "http.request", "body": body}]

    async def receive():
        return sent.pop()

    scope = {"type": "http", "method": "POST", "query_string": query.encode(), "headers": []}
    return Call(None, Request(scope, receive), version)


@pytest.mark.parametrize(
    ("path", "version", "rest"),
    [
        ("/info", versions.NEWEST, "/info"),
        ("/v1.24/info", (1, 24), "/info"),
        ("/v1.22/images/load", (1, 22), "/images/load"),
        ("/v1.44", (1, 44), "/"),
        ("/v1.4x/info", versions.NEWEST, "/v1.4x/info"),
    ],
)
def test_a_version_is_before_the_path(path, version, rest):
    assert versions.split(path) == (version, rest)


@pytest.mark.parametrize("path", ["/v1.58/info", "/v2.0/info", "/v1.21/info", "/v0.9/info"])
def test_other_versions_are_refused(path):
    with pytest.raises(RefusedError, match=r"is too (new|old)"):
        versions.split(path)


@pytest.mark.parametrize("text", ["", "0", "no", "False", "none", " 0 "])
def test_falsehoods(text):
    assert not call(f"force={text}").flag("force")


@pytest.mark.parametrize("text", ["1", "true", "yes", "2", "anything"])
def test_truths(text):
    assert call(f"force={text}").flag("force")
    assert call().flag("force", default=True)


def test_numbers_and_moments():
    assert call("t=-1").number("t") == -1
    assert call("t=").number("t") is None
    assert call("since=1764000000.5").moment("since") == 1764000000500000000
    assert call("since=0").moment("since") is None
    with pytest.raises(InvalidInputError, match="is not a number"):
        call("t=1e3").number("t")
    with pytest.raises(InvalidInputError, match="NUL"):
        call("t=%00").text("t")


@pytest.mark.parametrize(
    "text", ['{"label":["a=b","c"]}', '{"label":{"a=b":true,"c":true,"d":false}}']
)
def test_filters_in_both_spellings(text):
    assert Filters.parse(text, ("label",)).get("label") == ("a=b", "c")


@pytest.mark.parametrize("text", ['{"other":["a"]}', "[]", "{", '{"label":7}', '{"label":[7]}'])
def test_filters_that_are_none(text):
    with pytest.raises(InvalidInputError, match="invalid filter"):
        Filters.parse(text, ("label",))


def test_a_filter_that_is_a_truth_value():
    assert Filters.parse('{"dangling":["true"]}', ("dangling",)).flag("dangling") is True
    assert Filters.parse('{"dangling":{"0":true}}', ("dangling",)).flag("dangling") is False
    assert Filters.parse("", ("dangling",)).flag("dangling") is None
    with pytest.raises(InvalidInputError):
        Filters.parse('{"dangling":["maybe"]}', ("dangling",)).flag("dangling")


@pytest.mark.anyio
async def test_bodies_are_read_as_go_reads_them():
    sent = b'{"image": "a", "CMD": "sh", "Env": null, "Unknown": 1, "HostConfig": {"memory": 5}}'
    found = await call(body=sent).body(schemas.CreateBody)
    assert (found.Image, found.Cmd, found.Env, found.HostConfig.Memory) == ("a", ["sh"], [], 5)
    sent = b'{"IPAM": {"config": [{"Subnet": "10.0.0.0/8"}]}}'
    network = await call(body=sent).body(schemas.NetworkCreateBody)
    assert network.IPAM.pools[0].Subnet == "10.0.0.0/8"
    with pytest.raises(InvalidInputError, match="Image: input should be a valid string"):
        await call(body=b'{"Image": 7}').body(schemas.CreateBody)
    with pytest.raises(InvalidInputError, match="invalid JSON"):
        await call(body=b"{").body(schemas.CreateBody)


def test_routes_are_found_by_their_patterns():
    async def one(_call): ...
    async def other(_call): ...

    table = Table(
        [Route("GET", "/images/json", one), Route("GET", "/images/{name:path}/json", other)]
    )
    assert table.find("GET", "/images/json") == (one, {})
    assert table.find("GET", "/images/host:1/a/b/json") == (other, {"name": "host:1/a/b"})
    assert table.find("POST", "/images/json") is None
    assert table.find("GET", "nothing") is None
