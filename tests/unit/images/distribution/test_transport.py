"""Whom requests go through, and whom a login is for."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cgagent.errors import CgagentError, DeniedError
from cgagent.images.distribution import transport
from cgagent.images.distribution.credentials import ANONYMOUS, Credentials
from cgagent.images.distribution.endpoints import Endpoint
from cgagent.images.distribution.repository import Repository
from cgagent.images.distribution.search import search
from cgagent.images.distribution.trust import Trust


@pytest.fixture
def proxies(monkeypatch):
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://p.example:3128")
    monkeypatch.setenv("http_proxy", "q.example:3128")
    monkeypatch.setenv("NO_PROXY", "in.example,10.0.0.1")


@pytest.mark.parametrize(
    ("scheme", "host", "proxy"),
    [
        ("https", "r.example", "http://p.example:3128"),
        ("http", "r.example:5000", "http://q.example:3128"),
        ("https", "r.in.example:5000", None),
        ("https", "10.0.0.1", None),
        ("https", "127.0.0.1:5000", None),
        ("https", "localhost:5000", None),
        ("https", "[::1]:5000", None),
    ],
)
@pytest.mark.usefixtures("proxies")
def test_proxies(scheme, host, proxy):
    assert transport._proxy(scheme, host) == proxy


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://r.example/x", True),
        ("https://R.example:443/x", True),
        ("http://r.example/x", False),
        ("http://r.example:443/x", False),
        ("https://r.example:444/x", False),
        ("https://r.example.evil/x", False),
        ("https://r.example@evil/x", False),
        ("https://evil/r.example", False),
        (r"https://evil\@r.example/x", False),  # urllib's reading is not urllib3's
    ],
)
def test_a_login_is_for_the_registry_itself(url, own):
    registry = transport.Registry(Endpoint.of("r.example", ()), "x", Trust(()), ANONYMOUS)
    assert registry._is_own(url) is own


def test_certificates_of_a_registry(tmp_path):
    folder = tmp_path / "r.example:5000"
    folder.mkdir()
    trust = Trust((str(tmp_path / "none"), str(tmp_path)))
    assert not trust.certificates("r.example:5000", verify=False).verify
    (folder / "ca.crt").write_text("")
    (folder / "me.cert").write_text("")
    with pytest.raises(Exception, match=r"there is no me\.key beside it"):
        trust.certificates("r.example:5000", verify=False)
    (folder / "me.key").write_text("")
    found = trust.certificates("r.example:5000", verify=False)
    assert found.verify
    assert found.clients == ((f"{folder}/me.cert", f"{folder}/me.key"),)
    assert found.for_another_host().clients == ()
    with pytest.raises(Exception, match="cannot be read"):
        trust.context(found)


def test_a_context_is_made_once():
    trust = Trust(())
    first = trust.context(trust.certificates("a.example", verify=True))
    assert trust.context(trust.certificates("b.example", verify=True)) is first
    assert trust.context(trust.certificates("b.example", verify=False)) is not first


class _Handler(BaseHTTPRequestHandler):
    """Answers with what the server's `answers` have for the path: status, headers, body."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, headers, body = self.server.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in body:
                self.wfile.write(piece)
        except OSError:
            return

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(answers):
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.answers, server.asked = answers, []
        server.host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def opened(server):
    user = Credentials("me", "secret")
    return transport.Registry(Endpoint.of(f"http://{server.host}", ()), "x", Trust(()), user)


def get(registry, path):
    with registry.request("GET", path) as response:
        return registry.read(response, 1 << 16, "it")


def test_another_host_cannot_ask_for_the_login(serve):
    other = serve({})
    realm = f'Bearer realm="http://{other.host}/token"'
    other.answers["/blob"] = 401, {"WWW-Authenticate": realm}, ()
    other.answers["/token?account=me&client_id=cgagent&offline_token=true"] = (200, {}, (b"{}",))
    server = serve({"/v2/": (307, {"Location": f"http://{other.host}/blob"}, ())})
    with opened(server) as registry, pytest.raises(DeniedError):
        get(registry, "/v2/")
    assert other.asked == [("/blob", None)]


def endless():
    while True:
        yield bytes(1 << 16)


def test_what_is_not_wanted_is_not_read_without_end(serve):
    server = serve({"/a": (307, {"Location": "/b"}, endless()), "/b": (200, {}, (b"b",))})
    with opened(server) as registry:
        assert get(registry, "/a") == b"b"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (307, {"Location": "http://["}),
        (401, {"WWW-Authenticate": 'Bearer realm="http://["'}),
        (429, {"Retry-After": "\xb2"}),
    ],
)
def test_odd_headers_are_the_registrys_fault(serve, monkeypatch, status, headers):
    server = serve({"/v2/": (status, headers, ())})
    monkeypatch.setattr(transport, "TransientError", lambda error, _: error)
    with opened(server) as registry, pytest.raises(CgagentError):
        get(registry, "/v2/")


def test_stars_without_end(serve):
    body = b'{"results": [{"name": "x", "star_count": 1e999}]}'
    server = serve({"/v1/search?q=x&n=1": (200, {}, (body,))})
    with opened(server) as registry, pytest.raises(CgagentError, match="has no search"):
        search(registry, "", "x", 1, lambda _: None)


def test_the_next_page_is_the_registrys(serve):
    other = serve({})
    first = b'{"tags": ["a"]}'
    link = {"Link": f'<@{other.host}/x>; rel="next"'}
    server = serve(
        {
            "/v2/r/tags/list": (200, link, (first,)),
            f"/v2/r/tags/@{other.host}/x?": (200, {}, (b'{"tags": ["b"]}',)),
        }
    )
    with opened(server) as registry:
        assert Repository(registry, "r").tags(lambda _: None) == ["a", "b"]
    assert other.asked == []
