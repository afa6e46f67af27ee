"""Image stores on an empty data root, and archives of images made by hand."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import ssl
import tarfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cgagent.config import Settings
from cgagent.images.manifest import this_architecture
from cgagent.images.store import Images
from cgagent.store import Database

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURE, _ = this_architecture()


@dataclass
class Store:
    """`Images` under test, and what its files look like."""

    root: Path
    images: Images
    database: Database

    def load(self, archive):
        return asyncio.run(self.images.load(str(archive)))

    def pull(self, name, progress=lambda _: None):
        return asyncio.run(self.images.pull(name, progress))

    def diff(self, image, position=-1) -> Path:
        return self.root / "overlay2" / image.layers[position].removeprefix("sha256:") / "diff"

    def files(self) -> set[str]:
        """Every file and directory but the database and the fixed directories."""
        fixed = {"overlay2", "l", "containers-rw", "reserve", "images"}
        fixed |= {f"images/{name}" for name in ("ingest", "blobs", "blobs/sha256")}
        found = {str(p.relative_to(self.root)) for p in self.root.rglob("*")}
        return {p for p in found if not p.startswith("cgagent.db")} - fixed


@pytest.fixture
def open_store():
    databases = []

    def opened(root: Path, *, sweep=True, **settings) -> Store:
        databases.append(database := Database(root))
        images = Images(Settings(data_root=root, **settings), database)
        if sweep:
            images.sweep(set())
        return Store(root, images, database)

    yield opened
    for database in databases:
        database.close()


@pytest.fixture
def store(data_root, open_store):
    return open_store(data_root)


def sha256(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def entry(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def layer(*entries) -> bytes:
    """A layer's tar of `entry(...)` results; a string is an empty file of that name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for item in entries:
            info, data = entry(item) if isinstance(item, str) else item
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def config(*layers: bytes, **fields) -> bytes:
    return json.dumps(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(one) for one in layers]},
            **fields,
        }
    ).encode()


def tar_of(members: dict[str, bytes]) -> bytes:
    return layer(*(entry(name, data) for name, data in members.items()))


def docker_archive(*layers: bytes, tags=("made:1",), **fields) -> bytes:
    """What docker save would write; `fields` replace those of the config."""
    names = [f"{n}/layer.tar" for n in range(len(layers))]
    listing = [{"Config": "c.json", "RepoTags": list(tags), "Layers": names}]
    return tar_of(
        {
            "manifest.json": json.dumps(listing).encode(),
            "c.json": config(*layers, **fields),
            **dict(zip(names, layers, strict=True)),
        }
    )


class OciLayout:
    """An OCI image layout, built blob by blob."""

    def __init__(self):
        self.members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.entries = []

    def blob(self, raw: bytes, media_type: str, **more):
        self.members[f"blobs/sha256/{sha256(raw)[7:]}"] = raw
        return {"mediaType": media_type, "digest": sha256(raw), "size": len(raw), **more}

    def image(self, *layers: bytes, plain_layers=None, **fields):
        body = {
            "schemaVersion": 2,
            "config": self.blob(
                config(*(plain_layers or layers), **fields),
                "application/vnd.oci.image.config.v1+json",
            ),
            "layers": [self.blob(raw, "application/vnd.oci.image.layer.v1.tar") for raw in layers],
        }
        return self.blob(json.dumps(body).encode(), "application/vnd.oci.image.manifest.v1+json")

    def index(self, *entries):
        body = {"schemaVersion": 2, "manifests": list(entries)}
        return self.blob(json.dumps(body).encode(), "application/vnd.oci.image.index.v1+json")

    def archive(self, *entries) -> bytes:
        index = {"schemaVersion": 2, "manifests": list(entries)}
        return tar_of({**self.members, "index.json": json.dumps(index).encode()})


@pytest.fixture
def make():
    """The builders of this module: importlib mode gives test files no way to import them."""
    return SimpleNamespace(
        entry=entry,
        layer=layer,
        config=config,
        tar_of=tar_of,
        docker_archive=docker_archive,
        OciLayout=OciLayout,
        sha256=sha256,
        architecture=ARCHITECTURE,
    )


@pytest.fixture
def load(store, tmp_path):
    """Loads the bytes of an archive."""

    def loaded(raw: bytes):
        path = tmp_path / "archive.tar"
        path.write_bytes(raw)
        return store.load(path)

    return loaded


class OddRegistry(ThreadingHTTPServer):
    """Serves a layout as ``127.0.0.1:PORT/odd:latest``, as no real registry can be asked to.

    `quirks` maps a part of a request's path to functions that answer instead, each once.
    """

    def __init__(self, layout: OciLayout, entry):
        super().__init__(("127.0.0.1", 0), _OddHandler)
        self.layout = layout
        self.entry = entry
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.quirks = {}
        self.token = None
        self.requests = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def encrypt(self, certificate, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def content(self, path):
        digest = self.entry["digest"] if path.endswith("/latest") else path.rpartition("/")[2]
        return self.layout.members.get(f"blobs/sha256/{digest.removeprefix('sha256:')}")


class _OddHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Silent."""

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        for part, answers in server.quirks.items():
            if part in self.path and answers:
                answers.pop(0)(self)
                return
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            realm = f'Bearer realm="http://{server.address}/token",service="odd"'
            self.answer(401, b"", **{"WWW-Authenticate": realm})
            return
        body = server.content(self.path)
        self.answer(404 if body is None else 200, body or b"")

    def answer(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def odd_registry():
    return OddRegistry
