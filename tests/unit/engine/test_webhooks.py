"""What an address is told, and for how long it is waited for."""

import socket
import threading
import time

import pytest

from cgagent.engine.policies import webhooks
from cgagent.errors import RemoteError, UnavailableError

pytestmark = pytest.mark.anyio


@pytest.fixture
def listening():
    """A server of one connection: ``listening(*pieces)`` answers them, and has what it was told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = []

        def answer(pieces):
            connection, _ = server.accept()
            with connection:
                while b'"a": 1}' not in b"".join(told):
                    told.append(connection.recv(4096))
                try:
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(0.05)
                except OSError:  # it was cut
                    return

        def listen(*pieces):
            threading.Thread(target=answer, args=[pieces], daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/x?y=1#z", told

        yield listen


async def test_one_post(listening):
    url, told = listening(b"HTTP/1.1 204 No Content\r\n\r\n")
    await webhooks.post(url, {"a": 1})
    head = b"".join(told)
    assert head.startswith(b"POST /x?y=1 HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in head


@pytest.mark.parametrize("status", [b"302 Found", b"500 Internal Server Error"])
async def test_no_success(listening, status):
    url, _ = listening(b"HTTP/1.1 " + status + b"\r\nLocation: http://localhost/\r\n\r\n")
    with pytest.raises(RemoteError, match=f"it answered {status[:3].decode()}"):
        await webhooks.post(url, {"a": 1})


async def test_an_answer_that_drips_is_cut_off(listening, monkeypatch):
    monkeypatch.setattr(webhooks, "_TIMEOUT_S", 0.2)
    url, _ = listening(*[b"H"] * 100_000)
    with pytest.raises(UnavailableError, match="nobody has taken it"):
        await webhooks.post(url, {"a": 1})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://localhost:99999/", "http://127.0.0.1/\xe4 \n"]
)
async def test_nobody_is_there(url):
    with pytest.raises(UnavailableError, match="nobody has taken it"):
        await webhooks.post(url, {"a": 1})
