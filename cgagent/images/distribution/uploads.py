"""Sending blobs and manifests to a repository.

A blob goes in one request, from its file and with constant memory. Where that breaks, it goes on
from where the registry says it is; one that cannot say gets the rest, or all of it again, in
smaller pieces, so that a bad line gets on as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cgagent.errors import CgagentError, NotFoundError, RemoteError
from cgagent.images.distribution.patience import Patience, TransientError
from cgagent.images.distribution.repository import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from cgagent.images.distribution.repository import Repository, Tell
    from cgagent.images.distribution.transport import Registry

_CREATED: Final = 201
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_RANGE: Final = re.compile(r"(?:bytes=)?(\d{1,18})-(\d{1,18})")
_READ_BYTES: Final = 1 << 18
_PIECE_BYTES: Final = 8 << 20
"""Of a request, once a larger one has broken."""


@dataclass(slots=True)
class _Session:
    """An upload at a registry: where it goes on, and how far it is."""

    url: str
    offset: int = 0


class Uploads:
    def __init__(self, repository: Repository, tell: Callable[[str], Tell]) -> None:
        """`tell` makes of a blob's shown name what is told of waits."""
        self._registry: Registry = repository.registry
        self._path = repository.path
        self._tell = tell
        self.scopes = (f"repository:{self._path}:pull,push",)

    def has(self, digest: str, shown: str) -> bool:
        """Does the registry have the blob in this repository?"""
        url = f"/v2/{self._path}/blobs/{digest}"

        def attempt() -> bool:
            try:
                with self._registry.request("HEAD", url, scopes=self.scopes):
                    return True
            except NotFoundError:
                return False

        return patiently(attempt, self._tell(shown))

    def mount(self, digest: str, source: str, shown: str) -> bool:
        """Take the blob from another repository of the registry; False: that did not work."""
        url = f"/v2/{self._path}/blobs/uploads/?mount={quote(digest)}&from={quote(source)}"
        scopes = (*self.scopes, f"repository:{source}:pull")

        def attempt() -> bool:
            with self._registry.request(
                "POST", url, headers={"Content-Length": "0"}, scopes=scopes
            ) as found:
                if found.status == _ACCEPTED:  # an upload instead, which nobody will end
                    self._give_up(self._registry.absolute(found.headers.get("Location", "")))
                return found.status == _CREATED

        try:
            return patiently(attempt, self._tell(shown))
        except CgagentError:
            return False

    def send(
        self,
        digest: str,
        size: int,
        opened: Callable[[], BinaryIO],
        shown: str,
        progress: Callable[[int], None],
    ) -> None:
        """The whole blob. `progress` is told how many bytes are there."""
        patience = Patience(self._tell(shown))
        session: _Session | None = None
        furthest, piece_bytes = 0, max(size, 1)
        while True:
            try:
                session = session or self._begin()
                while session.offset < size:
                    count = min(piece_bytes, size - session.offset)
                    self._piece(session, count, size, opened, progress)
                    if session.offset > furthest:
                        furthest = session.offset
                        patience.progressed()
                self._finish(session, digest)
            except TransientError as e:
                piece_bytes = min(piece_bytes, _PIECE_BYTES)
                patience.wait(e)
                session = self._resumed(session)
            else:
                return

    def _begin(self) -> _Session:
        url = f"/v2/{self._path}/blobs/uploads/"
        with self._registry.request(
            "POST",
            url,
            headers={"Content-Length": "0"},
            scopes=self.scopes,
            expected=(_ACCEPTED,),
        ) as found:
            return _Session(self._location(found.headers.get("Location")))

    def _piece(
        self,
        session: _Session,
        count: int,
        size: int,
        opened: Callable[[], BinaryIO],
        progress: Callable[[int], None],
    ) -> None:
        offset = session.offset

        def body() -> Iterator[bytes]:
            with opened() as file:
                file.seek(offset)
                sent = 0
                while sent < count:
                    chunk = file.read(min(_READ_BYTES, count - sent))
                    if not chunk:
                        raise RemoteError(f"{self._registry.what}: a blob became shorter")
                    yield chunk
                    sent += len(chunk)
                    progress(offset + sent)

        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(count),
            "Content-Range": f"{offset}-{offset + count - 1}",
        }
        if (offset, count) != (0, size):  # a line that breaks after so many bytes counts anew
            headers["Connection"] = "close"
        with self._registry.request(
            "PATCH",
            session.url,
            headers=headers,
            body=body,
            scopes=self.scopes,
            expected=(_ACCEPTED, _NO_CONTENT),
        ) as found:
            session.url = self._location(found.headers.get("Location"), session.url)
            session.offset = offset + count

    def _finish(self, session: _Session, digest: str) -> None:
        separator = "&" if "?" in session.url else "?"
        with self._registry.request(
            "PUT",
            f"{session.url}{separator}digest={quote(digest)}",
            headers={"Content-Length": "0", "Content-Type": "application/octet-stream"},
            scopes=self.scopes,
            expected=(_CREATED, _NO_CONTENT, _ACCEPTED),
        ):
            return

    def _resumed(self, session: _Session | None) -> _Session | None:
        """How far the registry is; None: it does not know the upload any more."""
        if session is None:
            return None
        try:
            with self._registry.request("GET", session.url, scopes=self.scopes) as found:
                reached = _RANGE.fullmatch(found.headers.get("Range", "").strip())
                url = self._location(found.headers.get("Location"), session.url)
        except (CgagentError, TransientError):
            return None
        if reached is None:
            return None
        # ``0-0`` is nothing or one byte: the first byte is sent again by a new upload
        return _Session(url, int(reached[2]) + 1) if int(reached[2]) else None

    def _give_up(self, url: str) -> None:
        try:
            with self._registry.request("DELETE", url, scopes=self.scopes):
                return
        except (CgagentError, TransientError):
            return  # registries forget such an upload by themselves

    def _location(self, header: str | None, known: str = "") -> str:
        if header:
            return self._registry.absolute(header)
        if known:
            return known
        raise RemoteError(
            f"{self._registry.what}: registry {self._registry.shown} does not say where an "
            "upload goes"
        )

    def manifest(self, reference: str, raw: bytes, media_type: str, digest: str) -> None:
        """Under a tag, or under its digest."""
        url = f"/v2/{self._path}/manifests/{reference}"

        def attempt() -> str:
            with self._registry.request(
                "PUT",
                url,
                headers={"Content-Type": media_type},
                body=lambda: raw,
                scopes=self.scopes,
            ) as found:
                return found.headers.get("Docker-Content-Digest", "")

        claimed = patiently(attempt, self._tell(""))
        if claimed not in ("", digest):
            raise RemoteError(
                f"{self._registry.what}: registry {self._registry.shown} has kept the manifest "
                f"as {claimed}, not as {digest}"
            )
