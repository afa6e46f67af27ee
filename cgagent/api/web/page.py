"""The page's files, read once and kept compressed as browsers take them.

They are sent as they are in the package, but for the comments in its own modules. These have the
types for the compiler, and are a sixth of all that its modules take.

Nobody is asked who they are: there is nothing secret in them. What the page shows it asks the API
for, with the token that its user gives it.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

ROOT: Final = "/ui"
_INDEX: Final = "index.html"
_OTHERS: Final = "vendor/"
_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_COMMENT: Final = re.compile(rb"/\*\*.*?\*/", re.DOTALL)
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
    etag: str


def is_page(path: str) -> bool:
    return path == ROOT or path.startswith(f"{ROOT}/")


@cache
def _files() -> frozenset[str]:
    """Their names, with their folders: what is asked for is one of these, or is not there."""
    found = (path for path in _STATIC.rglob("*") if path.is_file())
    return frozenset(path.relative_to(_STATIC).as_posix() for path in found)


def without_comments(module: bytes) -> bytes:
    """Each line stays where it is: an error's line is that of the file."""
    return _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), module)


@cache
def _read(name: str) -> File:
    content = (_STATIC / name).read_bytes()
    if name.endswith(".js") and not name.startswith(_OTHERS):
        content = without_comments(content)
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    media_type = _TYPES[name.rpartition(".")[2]]
    return File(media_type, content, tag)


@cache
def _compressed(name: str, encoding: str) -> bytes:
    """It takes up to 0.2 s the first time."""
    return _ENCODINGS[encoding](_read(name).content)


_ENCODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": lambda content: zstd.compress(content, level=19),
    "gzip": lambda content: gzip.compress(content, mtime=0),
}
"""The better one first."""


def _file(name: str) -> File | None:
    return _read(name) if name in _files() else None


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for `ROOT` or a path below it."""
    answer = await _answer(scope)
    await answer(scope, receive, send)


async def _answer(scope: Scope) -> Response:
    if scope["method"] not in {"GET", "HEAD"}:
        headers = {**HEADERS, "Allow": "GET, HEAD"}
        return PlainTextResponse("only GET is possible here\n", 405, headers)
    if scope["path"] == ROOT:
        return RedirectResponse(f"{ROOT}/", 308, HEADERS)
    name = scope["path"].removeprefix(f"{ROOT}/") or _INDEX
    found = await asyncio.to_thread(_file, name)
    if found is None:
        return PlainTextResponse("the page has no such file\n", 404, HEADERS)
    headers = {**HEADERS, "etag": found.etag, "vary": "accept-encoding"}
    asked = Headers(scope=scope)
    if found.etag in asked.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    for encoding in _ENCODINGS:
        if encoding in asked.get("accept-encoding", ""):
            headers["content-encoding"] = encoding
            content = await asyncio.to_thread(_compressed, name, encoding)
            return Response(content, headers=headers, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)
