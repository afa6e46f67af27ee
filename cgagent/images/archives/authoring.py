"""Making images here: of what a container has changed, and of a tree in an archive.

The new layer is kept as a plain tar, whose digest is its diff id, as docker does.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import StoppedError
from cgagent.errors import InternalError, InvalidInputError
from cgagent.images import manifest
from cgagent.images.archives import instructions
from cgagent.images.changes import changes
from cgagent.images.compression import decompressed

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cgagent.images.build.syntax import Instruction
    from cgagent.images.content import BlobWriter, Lease
    from cgagent.images.drivers import RootFs
    from cgagent.images.packing import PackingProcess

LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_CHUNK: Final = 1 << 20
_UNKNOWN_BYTES: Final = 1 << 62
_EMPTY_BYTES: Final = 1024
"""A tar without an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """What is said about a new image, as ``commit`` and ``import`` take it."""

    name: str | None = None
    message: str = ""
    author: str = ""
    changes: tuple[str | Instruction, ...] = ()
    """Instructions of a Dockerfile."""


@dataclass(frozen=True, slots=True)
class NewLayer:
    digest: str
    """Also its diff id."""
    size_bytes: int
    files_bytes: int = 0
    """Of the files in it, where that is known."""

    @property
    def is_empty(self) -> bool:
        return self.size_bytes <= _EMPTY_BYTES


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A `LayerSource` whose blob is in the store; its digest is known, or else its diff id."""

    shown: str
    digest: str | None = None
    size_bytes: int = 0
    media_type: str = LAYER
    origin: str = ""

    def fetch(
        self, _writer: BlobWriter, _stop: threading.Event, _progress: Callable[[int], None]
    ) -> None:
        """Raises InternalError: it was called because the blob is not there."""
        raise InternalError(
            f"the blob of layer {self.shown} is lost; 'cgagent system check --repair' fetches it"
        )


def _stored(chunks: Iterator[bytes], lease: Lease, stop: threading.Event) -> NewLayer:
    with lease.writer(_UNKNOWN_BYTES) as writer:
        for chunk in chunks:
            if stop.is_set():
                raise StoppedError
            writer.write(chunk)
        writer.size = writer.written
        return NewLayer(writer.commit(LAYER), writer.size)


def packed(
    root: RootFs,
    left_out: Collection[str],
    lease: Lease,
    process: PackingProcess,
    stop: threading.Event,
) -> NewLayer:
    """What a container has changed, without the paths `left_out`, as a layer in the store.

    Raises:
        UnsupportedError: a change that no layer can express.
        NoSpaceError, InternalError, StoppedError.
    """
    request = {
        "upper": root.upper,
        "skipped": sorted(left_out),
        "with_root": has_other_root(root),
    }
    told: dict[str, Any] = {}
    with contextlib.closing(process.pack(request, told)) as chunks:
        layer = _stored(chunks, lease, stop)
    return replace(layer, files_bytes=told["size_bytes"])


def made_for_mounts(root: RootFs, mount_points: Collection[str]) -> set[str]:
    """Paths in the upper directory that are there only because something was mounted on them."""
    changed = {change.path for change in changes(root, mount_points)}
    return _with_parents(mount_points) - changed


def _with_parents(paths: Collection[str]) -> set[str]:
    """A directory came into the upper one, too, when something was made in it for a mount."""
    found = set(paths)
    for path in paths:
        while (path := os.path.dirname(path)) not in {"", "/"}:
            found.add(path)
    return found


def has_other_root(root: RootFs) -> bool:
    """Whether the container has changed the attributes of its root directory."""
    new, old = os.stat(root.upper), os.stat(root.lowers[0])
    return (stat.S_IMODE(new.st_mode), new.st_uid, new.st_gid) != (
        stat.S_IMODE(old.st_mode),
        old.st_uid,
        old.st_gid,
    )


def imported(path: str, lease: Lease, stop: threading.Event) -> NewLayer:
    """The tree in a tar, which may be compressed, as a layer in the store.

    Raises:
        InvalidInputError, NoSpaceError, StoppedError.
    """
    with open(path, "rb") as source:
        return _stored(decompressed(source, "archive"), lease, stop)


# -- configurations -----------------------------------------------------------------------------


def committed_config(
    base: bytes, run: dict[str, Any], layer: NewLayer, about: Authorship, created_by: str
) -> bytes:
    """The configuration of an image that stands on another; `run` is its object ``config``."""
    found = json.loads(base)
    instructions.apply(run, about.changes)
    diff_ids = [*((found.get("rootfs") or {}).get("diff_ids") or ())]
    entry = {
        "created": _now(),
        **({"author": about.author} if about.author else {}),
        **({"created_by": created_by} if created_by else {}),
        **({"comment": about.message} if about.message else {}),
        **({"empty_layer": True} if layer.is_empty else {}),
    }
    diff_ids += [] if layer.is_empty else [layer.digest]
    history = [*(found.get("history") or ()), entry]
    return config_document(found, run, diff_ids, history, about.author)


def imported_config(platform: str | None, layer: NewLayer, about: Authorship) -> bytes:
    """The configuration of an image of one layer, for `platform` or this machine."""
    run: dict[str, Any] = {}
    instructions.apply(run, about.changes)
    history = [{"created": _now(), "comment": about.message}]
    return config_document(_platform(platform), run, [layer.digest], history, about.author)


def config_document(
    base: dict[str, Any],
    run: dict[str, Any],
    diff_ids: Sequence[str],
    history: Sequence[dict[str, Any]],
    author: str,
) -> bytes:
    """An image's configuration; `run` is its object ``config``, `base` has what it is made for."""
    kept = ("architecture", "variant", "os", "os.version", "os.features")
    document = {
        "created": (history[-1].get("created") if history else None) or _now(),
        **({"author": author} if author else {}),
        **{name: base[name] for name in kept if base.get(name)},
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _platform(text: str | None) -> dict[str, str]:
    if not text:
        return {"architecture": manifest.this_architecture()[0], "os": "linux"}
    parts = text.lower().split("/")
    if parts[0] != "linux" and len(parts) == 1:
        parts = ["linux", *parts]
    if parts[0] != "linux" or not 2 <= len(parts) <= 3 or not all(parts):  # noqa: PLR2004
        raise InvalidInputError(f"platform {text!r} is not linux/ARCHITECTURE[/VARIANT]")
    return dict(zip(("os", "architecture", "variant"), parts, strict=False))


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
