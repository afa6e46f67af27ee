"""Attaching by a websocket, as pages and Docker's SDKs for browsers do, with a client of others."""

from __future__ import annotations

import contextlib

import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import unix_connect

from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

_ALL = "stream=1&stdin=1&stdout=1&stderr=1"


def connected(agent, target, **headers):
    return unix_connect(
        str(agent.socket),
        f"ws://docker{target}",
        additional_headers=headers,
        compression=None,
        open_timeout=20 * SLOWNESS,
    )


def until(line, wanted):
    told = b""
    while wanted not in told:
        told += line.recv(timeout=20 * SLOWNESS)
    return told


def test_input_and_output_without_frames_until_the_end(agent, container):
    box = container("sh", "-c", "read word; echo $word; echo wrong >&2; exit 3", stdin=True)
    with connected(agent, f"/v1.57/containers/{box}/attach/ws?{_ALL}") as line:
        line.send(b"hel")
        line.send("lo\n")
        told = b""
        with contextlib.suppress(ConnectionClosedOK):
            while True:
                told += line.recv(timeout=20 * SLOWNESS)
    assert sorted(told.splitlines()) == [b"hello", b"wrong"]
    assert agent.wait(box) == 3


def test_a_terminal_and_its_keys(agent, container):
    box = container("sh", tty=True, stdin=True)
    with connected(agent, f"/v1.57/containers/{box}/attach/ws?{_ALL}&detachKeys=ctrl-q") as line:
        line.send(b"echo a''b\n")
        until(line, b"ab\r\n")
        line.ping().wait(20 * SLOWNESS)
        line.send(b"\x11")
        with pytest.raises(ConnectionClosedOK):
            until(line, b"never")
    assert agent.state(box)["status"] == "running"


def test_the_past_and_what_each_version_is_told(agent, container):
    box = container("sh", "-c", "echo first; read go; echo then", stdin=True)
    eventually(lambda: agent.log_text(box) == "first\n")
    for version, kind in (("v1.24", str), ("v1.57", bytes)):
        target = f"/{version}/containers/{box}/attach/ws?logs=1&stdout=1"
        with connected(agent, target) as line:
            told = line.recv(timeout=20 * SLOWNESS)
        assert isinstance(told, kind)
        assert told in {"first\n", b"first\n"}
    with connected(agent, f"/v1.57/containers/{box}/attach/ws?logs=1&{_ALL}") as line:
        line.send(b"go\n")
        assert until(line, b"then\n") == b"first\nthen\n"


def test_a_letter_of_text_may_come_in_two_pieces(agent, container):
    command = r"read go; printf '\303'; sleep 0.3; printf '\251\n'; printf '\303'"
    box = container("sh", "-c", command, stdin=True)
    with connected(agent, f"/v1.24/containers/{box}/attach/ws?{_ALL}") as line:
        line.send("go\n")
        told = ""
        with contextlib.suppress(ConnectionClosedOK):
            while True:
                told += line.recv(timeout=20 * SLOWNESS)
    assert told == "\u00e9\n\ufffd"


def test_who_leaves_ends_nothing_but_the_session(agent, container):
    box = container("sh", "-c", "while :; do echo more; sleep 0.01; done")
    with connected(agent, f"/v1.57/containers/{box}/attach/ws?{_ALL}") as line:
        until(line, b"more\n")
    line = connected(agent, f"/v1.57/containers/{box}/attach/ws?{_ALL}")
    line.socket.close()
    assert agent.state(box)["status"] == "running"


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/v1.57/containers/nobody/attach/ws", {}, 404),
        ("/v1.57/containers/nobody/attach/ws", {"Origin": "http://evil.example"}, 403),
        ("/v1.57/containers/{}/attach/ws?detachKeys=ctrl-", {}, 400),
    ],
)
def test_what_is_refused(agent, container, target, headers, status):
    box = container("cat", tty=True, stdin=True)
    with pytest.raises(InvalidStatus) as refused:
        connected(agent, target.format(box), **headers)
    assert refused.value.response.status_code == status


def test_a_request_that_is_no_handshake(agent, container):
    box = container("cat", stdin=True)
    connection = agent.client.connect()
    with connection.socket:
        connection.send("GET", f"/containers/{box}/attach/ws", None)
        assert connection.head()[0] == 400
