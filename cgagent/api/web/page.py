"""The page's files, as they are in the package: read once, kept compressed.

Nobody is asked who they are: there is nothing secret in them. What the page shows it asks the API
for, with the token that its user gives it.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

ROOT: Final = "/ui"
_INDEX: Final = "index.html"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}
"""``no-cache``: a browser asks whether a file is still the same, so agent and page fit together."""


@dataclass(frozen=True, slots=True)
class File:
    media_type: str
    content: bytes
    compressed: bytes
    etag: str


def is_page(path: str) -> bool:
    return path == ROOT or path.startswith(f"{ROOT}/")


@cache
def file(name: str) -> File | None:
    """The file of this name, which may have folders; None: there is none."""
    parts = name.split("/")
    media_type = _TYPES.get(name.rpartition(".")[2])
    if media_type is None or any(part in {"", ".", ".."} for part in parts):
        return None
    found = resources.files(__package__).joinpath("static", *parts)
    if not found.is_file():
        return None
    content = found.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    return File(media_type, content, gzip.compress(content, mtime=0), tag)


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for `ROOT` or a path below it."""
    await _answer(scope)(scope, receive, send)


def _answer(scope: Scope) -> Response:
    if scope["method"] not in {"GET", "HEAD"}:
        return PlainTextResponse("only GET is possible here\n", 405, {"Allow": "GET, HEAD"})
    if scope["path"] == ROOT:
        return RedirectResponse(f"{ROOT}/", 308, HEADERS)
    found = _named(scope["path"].removeprefix(f"{ROOT}/") or _INDEX)
    if found is None:
        return PlainTextResponse("the page has no such file\n", 404, HEADERS)
    headers = {**HEADERS, "etag": found.etag, "vary": "accept-encoding"}
    asked = Headers(scope=scope)
    if found.etag in asked.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in asked.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.compressed, headers=headers, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)


def _named(name: str) -> File | None:
    """Without filling the cache with names that strangers make up."""
    return file(name) if name in _names() else None


@cache
def _names() -> frozenset[str]:
    root = resources.files(__package__).joinpath("static")
    folders = [("", root)]
    names = set()
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            else:
                names.add(f"{prefix}{entry.name}")
    return frozenset(names)
