import json
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.client.connection import Connection
from cgagent.client.http import Client, query, quote
from cgagent.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    NoSuchImageError,
    UnavailableError,
)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_quoting_can_be_undone(text):
    from urllib.parse import unquote

    assert unquote(quote(text)) == text
    assert quote(text).isascii()
    assert not set(quote(text)) & set(" ?#&\r\n")


def test_a_query_of_several():
    assert query(filter=["a=1", "b=2"], limit=5, names=[]) == "?filter=a%3D1&filter=b%3D2&limit=5"


def test_queries():
    assert query() == ""
    assert query(a=None) == ""
    assert query(all=True, tail=0, name="a b") == "?all=true&tail=0&name=a%20b"


@pytest.fixture
def agent(tmp_path):
    """A client of a server that gives the prepared bytes, one answer a request."""
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.settimeout(20)
    client, threads = Client(path), []

    def answers(*connections):
        def serve():
            for answers_of_one in connections:
                connection, _ = listener.accept()
                with connection:
                    for data in answers_of_one:
                        connection.recv(65536)
                        connection.sendall(data)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return client

    yield answers
    client.close()
    for thread in threads:
        thread.join()
    listener.close()


def http(status, body=b"", *headers):
    lines = [f"HTTP/1.1 {status} X", *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def test_answers_over_one_connection(agent):
    client = agent([http(200, b'{"a": 1}'), http(204), http(200, b"[]")])
    assert client.request("GET", "/x") == {"a": 1}
    assert client.request("POST", "/x", {"b": 2}) is None
    assert client.request("GET", "/x") == []


def test_chunks_and_lines_may_be_cut_anywhere(agent):
    body = b'5\r\n{"a":\r\n8;x=y\r\n 1}\n{"b"\r\n5\r\n: 2}\n\r\n0\r\n\r\n'
    client = agent([b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + body])
    assert list(client.lines("GET", "/x")) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "no_such_image", NoSuchImageError),
        (409, "conflict", ConflictError),
        (400, "invalid_input", InvalidInputError),
        (500, "something new", InternalError),
    ],
)
def test_errors_are_raised_as_they_are(agent, status, kind, error):
    body = json.dumps({"kind": kind, "detail": "why"}).encode()
    with pytest.raises(error, match="why") as caught:
        agent([http(status, body)]).request("GET", "/x")
    assert type(caught.value) is error


def test_an_answer_that_is_no_error_of_ours(agent):
    with pytest.raises(InternalError, match="the agent answered 500: oops"):
        agent([http(500, b"oops")]).request("GET", "/x")


def test_a_line_of_text_has_the_kind_of_its_status(agent):
    with pytest.raises(UnavailableError, match=r"answered 503: too many connections$"):
        agent([http(503, b"too many connections\n")]).request("GET", "/x")


def test_a_connection_that_was_closed_meanwhile_is_made_anew(agent):
    client = agent([http(200, b"1")], [http(200, b"2", "connection: close")], [http(200, b"3")])
    assert client.request("GET", "/x") == 1
    while not client._connection.ended():
        time.sleep(0.01)
    assert client.request("GET", "/x") == 2
    assert client._connection is None
    assert client.request("GET", "/x") == 3


def test_a_connection_that_the_agent_may_just_close_is_not_used_again(agent, monkeypatch):
    client = agent([http(200, b"1"), http(200, b"2")], [http(200, b"3")])
    assert client.request("GET", "/x") == 1
    assert client.request("GET", "/x") == 2
    later = time.monotonic() + 25
    monkeypatch.setattr("cgagent.client.http.monotonic", lambda: later)
    assert client.request("POST", "/x") == 3


def test_an_agent_that_hangs_up_in_the_middle(agent):
    client = agent([b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\nhalf"])
    with pytest.raises(UnavailableError, match="the agent closed the connection"):
        client.request("GET", "/x")


def test_what_is_left_of_an_interrupted_answer_is_not_the_next_ones(agent, monkeypatch):
    client = agent([http(200, b'"first"')], [http(200, b'"second"')])
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "head", raise_interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.request("GET", "/x")
    assert client.request("GET", "/y") == "second"


def raise_interrupted(connection):
    connection._more()
    raise KeyboardInterrupt


@pytest.mark.parametrize("path", ["x" * 200, "file/s"])
def test_a_path_that_is_none_of_a_sockets(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be an agent's socket"):
        Client(str(tmp_path / path)).request("GET", "/x")


@pytest.mark.parametrize("line", [b"hello\r\n", b"SSH-2.0-x y\r\n"])
def test_something_that_is_no_agent(agent, line):
    with pytest.raises(UnavailableError, match="no agent answers there, but something else"):
        agent([line]).request("POST", "/x")


def test_nobody_there(tmp_path):
    with pytest.raises(UnavailableError, match=r"no agent listens on .*; start one with"):
        Client(str(tmp_path / "s")).request("GET", "/x")


def test_many_are_asked_at_once_and_told_in_their_order(tmp_path):
    """The server answers the last one first."""
    path = str(tmp_path / "s")
    names = ["a", "", "b", "c"]

    def serve(listener):
        connections = [listener.accept()[0] for _ in range(3)]
        for connection in reversed(connections):
            asked = connection.recv(65536).split()[1]
            body = json.dumps(asked.decode()).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        found = list(Client(path).requests("POST", names, lambda n: f"/{quote(n)}"))
        thread.join()
    assert [str(f) for f in found] == ["/a", "an empty name names nothing", "/b", "/c"]


def test_an_error_of_dockers_routes_has_the_kind_of_its_status(agent):
    body = json.dumps({"message": "no such thing"}).encode()
    with pytest.raises(ConflictError, match="no such thing"):
        agent([http(409, body)]).request("GET", "/containers/x/json")


def test_pages_are_asked_for_one_after_the_other(agent):
    link = 'link: </x?limit=2&after=b>; rel="next"'
    client = agent([http(200, b"[1, 2]", link), http(200, b"[3]")])
    assert list(client.pages("/x?limit=2")) == [1, 2, 3]


def test_server_sent_events(agent):
    body = b'id: 1\ndata: {"a": 1}\n\n: idle\n\nid: 2\ndata: {"a": 2}\n\n'
    assert list(agent([http(200, body)]).server_sent("/x")) == [{"a": 1}, {"a": 2}]
