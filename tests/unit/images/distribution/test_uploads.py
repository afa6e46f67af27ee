"""Uploads to a registry that can say how far one is."""

from __future__ import annotations

import io
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from cgagent.errors import NotFoundError, UnavailableError
from cgagent.images.distribution import patience
from cgagent.images.distribution.patience import TransientError
from cgagent.images.distribution.uploads import Uploads

DATA = bytes(range(256)) * 40


class Resuming:
    """Takes up to `most` bytes of each PATCH and breaks then; `knows`: how far it is."""

    shown = "r.example"
    what = "image x"

    def __init__(self, most, *, knows=True):
        self.most = most
        self.knows = knows
        self.held = b""
        self.done = b""
        self.begun = 0

    def absolute(self, location):
        return f"https://r.example{location}"

    @contextmanager
    def request(self, method, url, *, headers=None, body=None, **_):
        yield SimpleNamespace(**getattr(self, method.lower())(url, headers or {}, body))

    def post(self, *_):
        self.begun += 1
        self.held = b""
        return {"headers": {"Location": "/up"}, "status": 202}

    def patch(self, _url, headers, body):
        first, _, last = headers["Content-Range"].partition("-")
        assert int(first) == len(self.held)
        sent = b"".join(body())
        assert len(sent) == int(headers["Content-Length"]) == int(last) + 1 - int(first)
        self.held += sent[: self.most]
        if len(sent) > self.most:
            raise TransientError(UnavailableError("broken"))
        return {"headers": {"Location": "/up"}, "status": 202}

    def get(self, *_):
        if not self.knows:
            raise NotFoundError("upload unknown")
        return {"headers": {"Range": f"0-{len(self.held) - 1}"}, "status": 204}

    def put(self, url, *_):
        assert url.endswith("?digest=sha256%3Ax")
        self.done = self.held
        return {"headers": {}, "status": 201}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(patience, "pause", lambda _: None)


def send(registry):
    uploads = Uploads(SimpleNamespace(registry=registry, path="x"), lambda _: lambda _: None)
    uploads.send("sha256:x", len(DATA), lambda: io.BytesIO(DATA), "x", lambda _: None)


def test_it_goes_on_from_where_the_registry_is():
    registry = Resuming(3000)
    send(registry)
    assert registry.done == DATA
    assert registry.begun == 1


def test_all_of_it_again_where_the_registry_has_forgotten(monkeypatch):
    monkeypatch.setattr("cgagent.images.distribution.uploads._PIECE_BYTES", 2000)
    registry = Resuming(3000, knows=False)
    send(registry)
    assert registry.done == DATA
    assert registry.begun == 2


def test_an_empty_blob():
    registry = Resuming(1)
    uploads = Uploads(SimpleNamespace(registry=registry, path="x"), lambda _: lambda _: None)
    uploads.send("sha256:x", 0, lambda: io.BytesIO(b""), "x", lambda _: None)
    assert registry.done == b""
