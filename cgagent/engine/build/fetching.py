"""Fetching what ADD names by a URL."""

from __future__ import annotations

import hashlib
import os
import posixpath
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from cgagent.concurrency import StoppedError
from cgagent.errors import InvalidInputError, NotFoundError, RemoteError, UnavailableError
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    import threading
    from pathlib import Path

_TIMEOUT_S: Final = 30.0
_CHUNK: Final = 1 << 18
_NOT_FOUND: Final = 404


def _opener() -> OpenerDirector:
    """Of http and https alone, so that no redirect leads to ftp: or to a file."""
    made = OpenerDirector()
    for handler in (
        *(ProxyHandler(), UnknownHandler(), HTTPHandler(), HTTPSHandler()),
        *(HTTPDefaultErrorHandler(), HTTPRedirectHandler(), HTTPErrorProcessor()),
    ):
        made.add_handler(handler)
    return made


_OPENER: Final = _opener()


def name_of(url: str, target: str) -> str:
    """What the file is called at its destination.

    Raises:
        InvalidInputError: the URL has no name, and the destination is a directory.
    """
    if not target.endswith("/"):
        return posixpath.basename(target)
    try:
        name = posixpath.basename(unquote(urlsplit(url).path))
    except ValueError as e:
        raise InvalidInputError(f"ADD {url}: that is no URL: {e}") from None
    if name in {"", ".", ".."}:
        raise InvalidInputError(
            f"ADD {url}: the URL names no file; give the destination a name of a file"
        )
    return name


def fetch(url: str, file: Path, checksum: str, stop: threading.Event) -> str:
    """Write what is at the URL to `file`, of mode 0600; its digest. For a thread.

    Raises:
        NotFoundError, RemoteError, UnavailableError: it cannot be had.
        InvalidInputError: it is not what `checksum` says.
    """
    found = hashlib.sha256()
    try:
        request = Request(url, headers={"User-Agent": "cgagent"})  # noqa: S310 - see _opener
        with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with (
                disk_full_is_no_space(f"ADD {url}", file),
                os.fdopen(os.open(file, flags, 0o600), "wb") as out,
            ):
                while data := answer.read1(_CHUNK):
                    if stop.is_set():
                        raise StoppedError
                    found.update(data)
                    out.write(data)
            _date(file, answer.headers.get("Last-Modified"))
    except HTTPError as e:
        kind = NotFoundError if e.code == _NOT_FOUND else RemoteError
        raise kind(f"ADD {url}: the server answers {e.code} {e.reason}") from None
    except (OSError, HTTPException, ValueError) as e:
        reason = getattr(e, "reason", None) or e
        raise UnavailableError(f"ADD {url}: cannot be fetched: {reason}") from None
    digest = f"sha256:{found.hexdigest()}"
    if checksum and digest != checksum:
        raise InvalidInputError(
            f"ADD {url}: digest mismatch: it has {digest}, and --checksum says {checksum}"
        )
    return digest


def _date(file: Path, text: str | None) -> None:
    """As docker has it: when the server says that it was changed, or the beginning of time."""
    try:
        changed = parsedate_to_datetime(text).timestamp() if text else 0.0
    except (TypeError, ValueError):
        changed = 0.0
    os.utime(file, (changed, changed))
