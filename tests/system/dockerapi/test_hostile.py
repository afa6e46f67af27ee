"""Requests of no client: whatever comes, the answer is docker's, and never a defect's."""

from __future__ import annotations

import http.client
import json
import random
import socket
from urllib.parse import quote, urlencode

import pytest

from cgagent.api.docker import app
from tests.world.agent import SLOWNESS

pytestmark = [pytest.mark.system, pytest.mark.native]

_STREAMS = ("/events", "/attach", "/logs", "/wait", "/stats")
_TEXTS = (
    "",
    "0",
    "-1",
    "x" * 300,
    "%00",
    "../..",
    "é",
    "[",
    "{}",
    '{"a":{"b":true}}',
    "9" * 40,
    "\x01",
)
_BODIES = (
    "",
    "null",
    "[]",
    "{",
    '"text"',
    "1e999",
    '{"a": NaN}',
    "[" * 100,
    '{"Image": 7}',
    '{"Image": "alpine", "HostConfig": {"Memory": "64m"}}',
    '{"Image": "alpine", "HostConfig": {"Memory": -5, "NanoCpus": -1}}',
    '{"Image": "alpine", "HostConfig": {"NanoCpus": 99999999999999999999}}',
    '{"Image": "alpine", "HostConfig": {"PortBindings": {"x": [{"HostPort": "y"}], "1-9": null}}}',
    '{"Image": "alpine", "HostConfig": {"PortBindings": {"80/icmp": []}}}',
    '{"Image": "alpine", "HostConfig": {"BlkioDeviceReadBps": [{"Path": "/etc", "Rate": -3}]}}',
    '{"Image": "alpine", "HostConfig": {"Binds": ["", ":", "a:b:c:d"], "Umask": 99999}}',
    '{"Image": "alpine", "HostConfig": {"Mounts": [{"Type": "npipe"}, {"Type": "image"}]}}',
    '{"Image": "alpine", "HostConfig": {"StorageOpt": {"size": "lots"}, "ShmSize": -1}}',
    '{"Image": "alpine", "HostConfig": {"Ulimits": [{"Name": "x", "Soft": -9}]}}',
    '{"Image": "alpine", "HostConfig": {"ConsoleSize": [70000, -1]}, "Tty": true}',
    '{"Image": "alpine", "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"x": "y"}}}}',
    '{"Image": "alpine", "NetworkingConfig": {"EndpointsConfig": {"": {}, "nope": null}}}',
    '{"Image": "alpine", "Cmd": {"a": 1}, "Env": [""], "Labels": []}',
    '{"Image": "alpine", "Healthcheck": {"Test": ["WHAT"], "Interval": -4}}',
    '{"Image": "\\ud800", "Cmd": ["\\u0000"]}',
    '{"Name": "a b/c", "Driver": "nope", "IPAM": {"Config": [{"Subnet": "no"}]}}',
    '{"Name": "n", "IPAM": {"Config": [{"Gateway": "1.2.3.4"}], "Driver": "x"}}',
    '{"Container": "nobody", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "z"}}}',
    '{"Cmd": [], "Detach": "yes"}',
    '{"RestartPolicy": {"Name": "sometimes", "MaximumRetryCount": -1}}',
    '{"serveraddress": "127.0.0.1:1", "username": "a", "password": "b"}',
)
_NAMES = (
    "tag",
    "repo",
    "name",
    "filters",
    "limit",
    "since",
    "until",
    "path",
    "t",
    "h",
    "w",
    "signal",
    "fromImage",
    "fromSrc",
    "tail",
    "stdout",
    "platform",
    "condition",
    "ps_args",
    "names",
    "term",
)


def ask(agent, method, target, body=None, **headers):
    """The status and what the answer says."""
    connection = http.client.HTTPConnection("docker", timeout=20 * SLOWNESS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20 * SLOWNESS)
    connection.sock.connect(str(agent.socket))
    with connection.sock:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        is_endless = answer.status < 300 and any(part in target for part in _STREAMS)
        whole = b"" if is_endless else answer.read()
        return answer.status, whole


def test_junk_is_refused_and_leaves_nothing(agent, container):
    box = container("sleep", "1000")
    before = {c["id"] for c in agent.containers()}
    chance = random.Random(7)  # noqa: S311 - any numbers will do
    for method, pattern, _ in app.ROUTES:
        if pattern in {"/containers/prune", "/images/prune", "/volumes/prune", "/networks/prune"}:
            continue
        for _ in range(25):
            name = chance.choice((box, "nobody", "..", "é", "a:b@c", box[:4]))
            path = pattern.replace("{id}", quote(name)).replace("{name:path}", quote(name))
            path = path.replace("{name}", quote(name))
            asked = {n: chance.choice(_TEXTS) for n in chance.sample(_NAMES, 4)}
            body = chance.choice(_BODIES) if method in {"POST", "PUT"} else None
            if method == "DELETE" or "kill" in path or "/stop" in path or "restart" in path:
                path = path.replace(box, "nobody").replace(box[:4], "nobody")
            target = f"{chance.choice(('', '/v1.24', '/v1.44', '/v1.57'))}{path}?{urlencode(asked)}"
            status, said = ask(agent, method, target, body)
            assert status < 500 or status in {501, 503}, (method, target, body, status, said)
            if status >= 400 and said:
                assert isinstance(json.loads(said)["message"], str), (method, target, said)
    for one in agent.containers():  # some bodies can be had
        if one["id"] not in before:
            agent.remove(one["id"])
    assert "Traceback" not in agent.log.read_text()


@pytest.mark.parametrize(
    ("method", "target", "status", "said"),
    [
        ("GET", "/v1.99/info", 400, "client version 1.99 is too new. Maximum supported API"),
        ("GET", "/v1.12/info", 400, "client version 1.12 is too old. Minimum supported API"),
        ("GET", "/v1.44/nope", 404, "page not found"),
        ("PATCH", "/info", 404, "page not found"),
        ("GET", "/containers/json?filters=%00", 400, "NUL"),
        ("GET", "/containers/%00/json", 400, "NUL"),
        ("GET", "/containers/json?filters={%22name%22:[%22(a*)*b%22]}", 400, "repetitions"),
        ("GET", "/containers/json?limit=99999999999999999999", 400, "is not a number"),
        ("GET", "/events?since=yesterday", 400, "is not a time"),
    ],
)
def test_what_is_refused(agent, method, target, status, said):
    got, body = ask(agent, method, target)
    assert got == status
    assert said in json.loads(body)["message"]


def test_a_body_has_bounds(agent):
    status, body = ask(agent, "POST", "/containers/create", b" " * (5 << 20))
    assert status == 400
    assert "larger than 4 MiB" in json.loads(body)["message"]
