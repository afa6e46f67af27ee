"""Archives of images as hypothesis makes them, hostile and damaged ones, loaded into a store.

Each is loaded or refused with a clear error; nothing appears outside the store, nothing stays in
it. For the suite and for the soak.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgagent.config import Settings
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images.manifest import this_architecture
from cgagent.images.store import Images
from cgagent.store import Database
from tests.world import layered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hypothesis.strategies import DrawFn, SearchStrategy

_CANARY: Final = b"nobody writes here"
_BLOCK: Final = 512
_PIECES: Final = (
    *("a", "b", "c", "..", ".", "", "/", ".wh.a", ".wh.b", ".wh.", ".wh..wh..opq", ".wh..wh.x"),
    *("\udcff", "n" * 255, "n" * 256, "\u00e4"),
)
_TYPES: Final = (*(b"%d" % n for n in range(8)), b"\0", b"S", b"x", b"g", b"L", b"K", b"V", b"D")
_PAX: Final = ("path", "linkpath", "size", "uid", "mtime", "SCHILY.xattr.user.a")
_SPARSE: Final = ("GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.name")
_XATTRS: Final = ("SCHILY.xattr.security.capability", "SCHILY.xattr.trusted.overlay.redirect")
_NUMBERS: Final = st.sampled_from([0, 1, 0o777, 0o4755, 65534, 0o7777777, 0o777777777])


@st.composite
def _names(draw: DrawFn, outside: str) -> str:
    if draw(st.integers(0, 9)) == 0:
        return f"{outside}/canary"
    return "/".join(draw(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4)))


@st.composite
def _entry(draw: DrawFn, outside: str) -> bytes:
    info = tarfile.TarInfo(draw(_names(outside)))
    info.type = draw(st.sampled_from(_TYPES))
    info.linkname = draw(_names(outside))
    content = draw(st.binary(max_size=600))
    info.size = len(content) if draw(st.integers(0, 9)) else draw(_NUMBERS)
    info.mode, info.uid, info.gid = (draw(_NUMBERS) & 0o7777777 for _ in range(3))
    info.mtime = draw(st.integers(-(1 << 32), 1 << 40))
    info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 255))
    if draw(st.booleans()):
        values = st.text("0123456789,./ab\n", max_size=12)
        keys = st.sampled_from((*_PAX, *_SPARSE, *_XATTRS))
        info.pax_headers = draw(st.dictionaries(keys, values, max_size=3))
    try:
        head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    except ValueError:  # tarfile itself refuses to write it
        return b""
    return head + content + bytes(-len(content) % _BLOCK)


@st.composite
def layer_streams(draw: DrawFn, outside: str) -> bytes:
    """A tar that is all right in most of its parts, perhaps damaged, cut off or compressed."""
    raw = bytearray(b"".join(draw(st.lists(_entry(outside), max_size=6))))
    for _ in range(draw(st.integers(0, 2))):
        if raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    raw += bytes(2 * _BLOCK)
    if draw(st.integers(0, 4)) == 0:
        del raw[draw(st.integers(0, len(raw))) :]
    return bytes(raw)


_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@st.composite
def _changed(draw: DrawFn, document: Any) -> Any:
    """One place of it has something else."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(document)))
        return {**document, key: draw(_changed(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 3)):
        n = draw(st.integers(0, len(document) - 1))
        return [*document[:n], draw(_changed(document[n])), *document[n + 1 :]]
    return draw(_JSON)


@st.composite
def document_archives(draw: DrawFn) -> bytes:
    """An archive in one of both forms, in which a document is changed at up to two places."""
    which = draw(st.sampled_from(("manifest", "config", "index", "listing")))

    def maybe(name: str, document: Any) -> bytes:
        for _ in range(draw(st.integers(1, 2)) if name == which else 0):
            document = draw(_changed(document))
        return json.dumps(document).encode()

    layer = layered.tar_of({"file": b"content"})
    config = maybe("config", _config(layer))
    if which == "listing" or draw(st.booleans()):
        listing = [{"Config": "c.json", "RepoTags": ["fuzz:1"], "Layers": ["l.tar"]}]
        members = {"manifest.json": maybe("listing", listing), "c.json": config, "l.tar": layer}
        return layered.tar_of(members)
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(raw: bytes, kind: str) -> dict[str, Any]:
        members[f"blobs/sha256/{_sha256(raw)[7:]}"] = raw
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": _sha256(raw), "size": len(raw)}

    parts = {"config": blob(config, "config.v1+json"), "layers": [blob(layer, "layer.v1.tar")]}
    manifest = maybe("manifest", {"schemaVersion": 2, **parts})
    entry = blob(manifest, "manifest.v1+json")
    members["index.json"] = maybe("index", {"schemaVersion": 2, "manifests": [entry]})
    return layered.tar_of(members)


class Fuzz:
    def __init__(self, folder: Path) -> None:
        self._archive = folder / "archive.tar"
        self._outside = folder / "outside"
        self._outside.mkdir()
        (self._outside / "canary").write_bytes(_CANARY)
        self._root = folder / "root"
        self._database = Database(self._root)
        self._images = Images(Settings(data_root=self._root), self._database)
        self._empty = self._files()
        self.outcomes = {"loaded": 0, "refused": 0, "without a text": 0}

    def close(self) -> None:
        self._database.close()

    def layers(self, rounds: int) -> None:
        _run(layer_streams(str(self._outside)), self._layer, rounds)

    def documents(self, rounds: int) -> None:
        _run(document_archives(), self._check, rounds)

    def _layer(self, raw: bytes) -> None:
        name = "l.tar"
        listing = json.dumps([{"Config": "c.json", "RepoTags": [], "Layers": [name]}]).encode()
        config = json.dumps(_config(raw)).encode()
        stored = gzip.compress(raw, 1) if len(raw) % 3 == 0 else raw
        members = {"manifest.json": listing, "c.json": config, name: stored}
        self._check(layered.tar_of(members))

    def _check(self, raw: bytes) -> None:
        self._archive.write_bytes(raw)
        try:
            loaded = asyncio.run(self._images.load(str(self._archive)))
        except (InvalidInputError, UnsupportedError) as e:
            self.outcomes["without a text"] += not e.message
            self.outcomes["refused"] += 1
        else:
            self.outcomes["loaded"] += 1
            for image in loaded:
                self._images.remove(image.id, in_use=lambda _: [], force=True)
        assert self._files() == self._empty, "the store has grown"
        found = {p.name: p.read_bytes() for p in self._outside.iterdir()}
        assert found == {"canary": _CANARY}, "something outside was changed"

    def _files(self) -> set[str]:
        found = {str(path.relative_to(self._root)) for path in self._root.rglob("*")}
        return {path for path in found if not path.startswith("cgagent.db")}


def _run(strategy: SearchStrategy[bytes], check: Callable[[bytes], None], rounds: int) -> None:
    @settings(
        max_examples=rounds,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def fuzz(raw: bytes) -> None:
        check(raw)

    fuzz()


def _config(layer: bytes) -> dict[str, Any]:
    diff_ids = [_sha256(layer)]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    architecture, _ = this_architecture()
    return {"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs}


def _sha256(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
