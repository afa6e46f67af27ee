"""Connections that are taken over, as old and new clients ask for them."""

from __future__ import annotations

import contextlib
import itertools
import socket

import pytest

from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

_UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_HEAD = 8
_RAW = "application/vnd.docker.raw-stream"


@contextlib.contextmanager
def asked(host, target, headers=_UPGRADE):
    """The connection, the answer's head, and what has come behind it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20 * SLOWNESS)
        sock.connect(host.removeprefix("unix://"))
        head = f"POST {target} HTTP/1.1\r\nHost: docker\r\n{headers}Content-Length: 0\r\n\r\n"
        sock.sendall(head.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        head, _, rest = data.partition(b"\r\n\r\n")
        yield sock, head.decode(), rest


def everything(sock, rest):
    while data := sock.recv(4096):
        rest += data
    return rest


def frame(number, text):
    return bytes((number, 0, 0, 0)) + len(text).to_bytes(4, "big") + text


def frames(data):
    """Those that are complete: stream and payload of each."""
    begin = 0
    while begin + _HEAD <= len(data):
        payload = begin + _HEAD
        end = payload + int.from_bytes(data[begin + 4 : payload], "big")
        if end <= len(data):
            yield data[begin], data[payload:end]
        begin = end


@pytest.fixture
def cat(docker):
    docker("create", "-i", "--name", "cat", "alpine", "sh", "-c", "echo first; exec cat")
    return "cat"


_ALL = "stream=1&stdin=1&stdout=1&stderr=1"


@pytest.mark.parametrize(
    ("version", "headers", "answer"),
    [
        ("v1.57", _UPGRADE, ("101 Switching Protocols", _MULTIPLEXED)),
        ("v1.42", _UPGRADE, ("101 Switching Protocols", _MULTIPLEXED)),
        ("v1.41", _UPGRADE, ("101 Switching Protocols", _RAW)),
        ("v1.24", "", ("200 OK", _RAW)),
    ],
)
def test_attach_with_input_to_its_end(cat, host, docker, version, headers, answer):  # noqa: PLR0917
    status, kind = answer
    with asked(host, f"/{version}/containers/{cat}/attach?{_ALL}", headers) as (sock, head, rest):
        assert head.startswith(f"HTTP/1.1 {status}")
        assert f"Content-Type: {kind}" in head
        docker("start", cat)
        sock.sendall(b"through\n")
        sock.shutdown(socket.SHUT_WR)
        if version == "v1.24":  # its input's end is not the container's
            eventually(lambda: docker("logs", cat) == "first\nthrough")
            docker("stop", "-t", "0", cat)
        assert everything(sock, rest) == frame(1, b"first\n") + frame(1, b"through\n")


def test_attach_to_a_terminal_has_no_frames(host, docker):
    docker("create", "-it", "--name", "term", "alpine", "echo", "said")
    target = f"/v1.57/containers/term/attach?{_ALL}"
    with asked(host, target) as (sock, head, rest):
        assert f"Content-Type: {_RAW}" in head
        docker("start", "term")
        assert everything(sock, rest) == b"said\r\n"


def test_what_was_written_before_is_sent_first(host, docker, cat):
    docker("start", cat)
    eventually(lambda: docker("logs", cat) == "first")
    target = f"/containers/{cat}/attach?logs=1&{_ALL}"
    with asked(host, target) as (sock, _, rest):
        sock.sendall(b"then\n")
        docker("exec", cat, "true")
        wanted = frame(1, b"first\n") + frame(1, b"then\n")
        assert rest + sock.recv(len(wanted) - len(rest), socket.MSG_WAITALL) == wanted
    with asked(host, f"/containers/{cat}/attach?logs=1&stdout=1") as (sock, _, rest):
        assert everything(sock, rest) == wanted


_COUNTING = "i=0; while :; do echo $i; i=$((i + 1)); {}; done"
_SLOWER = "[ $((i % 50)) -gt 0 ] || sleep 0.01"
_ROTATED = ("--log-opt", "max-size=20k", "--log-opt", "max-file=100")


@pytest.mark.parametrize(
    ("pause", "options", "much"), [(":", (), 3_000_000), (_SLOWER, _ROTATED, 200_000)]
)
def test_nothing_is_missing_between_the_log_and_the_stream(host, docker, pause, options, much):
    """Of a container that writes all the time, in a log that is rotated, too."""
    command = ("alpine", "sh", "-c", _COUNTING.format(pause))
    docker("run", "-d", "--name", "counting", *options, *command)
    for _ in range(4):
        target = "/containers/counting/attach?logs=1&stream=1&stdout=1"
        with asked(host, target) as (sock, _, rest):
            came = bytearray(rest)
            while len(came) < much:
                came += sock.recv(1 << 20)
        text = b"".join(payload for _, payload in frames(bytes(came)))
        numbers = [int(line) for line in text.splitlines()[:-1]]
        gaps = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
        assert not gaps
        assert options or numbers[0] == 0


def test_a_line_that_has_no_end_yet_is_sent_as_well(host, docker):
    command = "echo whole; printf half; read go; echo done"
    docker("run", "-di", "--name", "asking", "alpine", "sh", "-c", command)
    eventually(lambda: docker("logs", "asking") == "whole")
    target = f"/containers/asking/attach?logs=1&{_ALL}"
    with asked(host, target) as (sock, _, rest):
        sock.sendall(b"go\n")
        text = b"".join(payload for _, payload in frames(everything(sock, rest)))
    assert text == b"whole\nhalfdone\n"
    with asked(host, target) as (sock, _, rest):  # the next run's output follows the last one's
        docker("start", "asking")
        sock.sendall(b"go\n")
        text = b"".join(payload for _, payload in frames(everything(sock, rest)))
    assert text == b"whole\nhalfdone\n" * 2


def test_what_cannot_be_attached_is_refused_before_it_is_taken_over(host, docker, cat):
    with asked(host, "/containers/nobody/attach?stream=1") as (_, head, _):
        assert head.startswith("HTTP/1.1 404")
    with asked(host, f"/containers/{cat}/attach?stream=1&logs=1") as (_, head, _):
        assert head.startswith("HTTP/1.1 400")  # no stream is named
    docker("start", cat)
    docker("pause", cat)
    with asked(host, f"/containers/{cat}/attach?{_ALL}") as (_, head, _):
        assert head.startswith("HTTP/1.1 409")
    docker("unpause", cat)
