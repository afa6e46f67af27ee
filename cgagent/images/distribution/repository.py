"""One repository of a registry: its tags, manifests and blobs, fetched with patience.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from cgagent.errors import RemoteError
from cgagent.images.distribution.patience import Patience, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cgagent.images.content import BlobWriter
    from cgagent.images.distribution.transport import Registry, Response
    from cgagent.images.manifest import Descriptor

    Tell = Callable[[int], None]
    """Is told how many seconds are waited before another attempt."""

T = TypeVar("T")

_PARTIAL: Final = 206
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-")
_CHUNK_BYTES: Final = 1 << 18
_WRITE_BYTES: Final = 1 << 16
_MAX_PAGE_BYTES: Final = 16 << 20
_MAX_LIST_BYTES: Final = 64 << 20
_MAX_PAGES: Final = 1000


class Repository:
    """Nothing here is kept: it is a name at a `Registry`."""

    def __init__(self, registry: Registry, path: str) -> None:
        self.registry = registry
        self.path = path
        self.pulling = (f"repository:{path}:pull",)

    @property
    def origin(self) -> str:
        return f"{self.registry.endpoint.bases[0]}/{self.path}"

    def manifest(
        self, tag_or_digest: str, accept: Sequence[str], limit: int, tell: Tell
    ) -> tuple[bytes, str, str]:
        """Its bytes, and what the registry says are their digest and type, perhaps nothing."""
        headers = {"Accept": ", ".join(accept)}

        def attempt() -> tuple[bytes, str, str]:
            url = self._url(f"manifests/{tag_or_digest}")
            with self.registry.request("GET", url, headers=headers, scopes=self.pulling) as found:
                body = self.registry.read(found, limit, "its manifest")
                return body, *_named(found)

        return self.patiently(attempt, tell)

    def blob(self, wanted: Descriptor, limit: int, tell: Tell) -> bytes:
        """A small blob; the caller verifies the digest."""

        def attempt() -> bytes:
            url = self._url(f"blobs/{wanted.digest}")
            with self._verified(url) as response:
                return self.registry.read(response, limit, f"blob {wanted.digest}")

        return self.patiently(attempt, tell)

    def download(self, writer: BlobWriter, progress: Callable[[int], None], tell: Tell) -> None:
        """Streams a blob into `writer`, resuming where a connection broke; commits nothing."""
        patience = Patience(tell)
        while writer.written < writer.size:
            before = writer.written
            try:
                self._download_once(writer, progress)
            except TransientError as e:
                patience.moved(writer.written - before)
                patience.wait(e)

    def _download_once(self, writer: BlobWriter, progress: Callable[[int], None]) -> None:
        resumed = {"Range": f"bytes={writer.written}-"} if writer.written else {}
        url = self._url(f"blobs/{writer.digest}")
        with self._verified(url, resumed) as response:
            if writer.written and not _continues(response, writer.written):
                writer.restart()
            for chunk in _chunks(response):
                writer.write(chunk)
                progress(writer.written)
            if writer.written < writer.size:  # a whole answer, unlike a broken connection
                raise RemoteError(
                    f"{self.registry.what}: registry {self.registry.shown} has only "
                    f"{writer.written} of the {writer.size} bytes of blob {writer.digest}"
                )
            response.release_conn()

    def tags(self, tell: Tell) -> list[str]:
        url = self._url("tags/list")
        return listed(self.registry, url, "tags", self.pulling, tell)

    def patiently(self, attempt: Callable[[], T], tell: Tell) -> T:
        """Repeats what fails for a while. Raises the last failure."""
        return patiently(attempt, tell)

    def _verified(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Response]:
        """A blob, whose digest is known."""
        return self.registry.request(
            "GET", url, headers=headers, scopes=self.pulling, verified=True
        )

    def _url(self, path: str) -> str:
        return f"/v2/{self.path}/{path}"


def patiently(attempt: Callable[[], T], tell: Tell) -> T:
    patience = Patience(tell)
    while True:
        try:
            return attempt()
        except TransientError as e:
            patience.wait(e)


def listed(
    registry: Registry,
    url: str,
    field: str,
    scopes: tuple[str, ...],
    tell: Tell,
    *,
    enough: Callable[[list[str]], bool] = lambda _: False,
) -> list[str]:
    """A list that comes in pages, until there is enough of it."""
    names: list[str] = []
    left = _MAX_LIST_BYTES
    while left > 0:

        def attempt(page: str = url) -> tuple[bytes, str]:
            with registry.request("GET", page, scopes=scopes) as response:
                link = response.headers.get("Link", "")
                return registry.read(response, _MAX_PAGE_BYTES, f"its list of {field}"), link

        body, link = patiently(attempt, tell)
        left -= max(len(body), _MAX_LIST_BYTES // _MAX_PAGES)
        names += _strings(body, field, registry)
        following = re.match(r'\s*<([^>]+)>\s*;.*rel="?next', link)
        if following is None or enough(names):
            return names
        try:
            parts = urlsplit(urljoin(f"http://registry{url}", following[1]))
        except ValueError:
            break
        url = f"{parts.path}?{parts.query}"  # the registry's own, whatever host it says
    raise RemoteError(f"{registry.what}: registry {registry.shown} has no end of {field}")


def _strings(body: bytes, field: str, registry: Registry) -> list[str]:
    try:
        found: Any = json.loads(body)[field] or []
    except (ValueError, LookupError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise RemoteError(f"{registry.what}: registry {registry.shown} answered with no {field}")
    return found


def _named(response: Response) -> tuple[str, str]:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return response.headers.get("Docker-Content-Digest", ""), kind


def _chunks(response: Response) -> Any:
    """A body in pieces worth writing. What came before a failure is not lost."""
    waiting: list[bytes] = []
    size = 0
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            waiting.append(chunk)
            size += len(chunk)
            if size >= _WRITE_BYTES:
                whole, waiting, size = b"".join(waiting), [], 0
                yield whole
    except Exception:
        if waiting:
            yield b"".join(waiting)
        raise
    if waiting:
        yield b"".join(waiting)


def _continues(response: Response, offset: int) -> bool:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return response.status == _PARTIAL and match is not None and int(match[1]) == offset
