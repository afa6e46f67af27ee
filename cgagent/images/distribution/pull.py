"""Pulling: from a name to an image in the store, by way of mirrors and indexes.

Everything a registry sends is verified by digest or size before it is used.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread, in_waiting_thread
from cgagent.errors import (
    DeadlineError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    UnavailableError,
    UnsupportedError,
)
from cgagent.images import manifest
from cgagent.images.candidate import Candidate, Progress
from cgagent.images.content import digest_of
from cgagent.images.distribution.credentials import ANONYMOUS
from cgagent.images.distribution.repository import Repository
from cgagent.images.distribution.sockets import stopping
from cgagent.images.distribution.transport import Registry
from cgagent.images.image import parse_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgagent.images.content import BlobWriter
    from cgagent.images.distribution.credentials import Credentials
    from cgagent.images.distribution.endpoints import Place
    from cgagent.images.distribution.trust import Trust
    from cgagent.images.install import Installer
    from cgagent.images.manifest import Descriptor, Document, Manifest, Platform
    from cgagent.images.reference import Reference
    from cgagent.store.origins import OriginRecords

    Tell = Callable[[Progress], None]

_MAX_NESTING: Final = 4
_NEXT_PLACE: Final = (
    DeadlineError,
    DeniedError,
    NotFoundError,
    RemoteError,
    UnavailableError,
)
"""What another registry may do better."""
_CONFIG_TYPES: Final = frozenset(
    {"", manifest.DOCKER_CONFIG, manifest.OCI_CONFIG, "application/octet-stream"}
)
_JSON_TYPES: Final = frozenset({"", "application/json", "text/plain", "application/octet-stream"})
"""Of servers that do not know what they have."""


def waiting(tell: Tell, shown: str = "") -> Callable[[int], None]:
    """Docker's words for a wait before another attempt."""

    def told(seconds: int) -> None:
        plural = "" if seconds == 1 else "s"
        tell(Progress(shown, f"Retrying in {seconds} second{plural}"))

    return told


class Places:
    """The repositories that may have an image, each opened when it is first asked."""

    def __init__(
        self, places: list[Place], what: str, trust: Trust, credentials: Credentials
    ) -> None:
        self._places = places
        self._what = what
        self._trust = trust
        self._credentials = credentials
        self._open: dict[Place, Repository] = {}
        self._lock = threading.Lock()
        self._exits = ExitStack()
        self.shown = [place.endpoint.host for place in places]

    def __len__(self) -> int:
        return len(self._places)

    def repository(self, position: int) -> Repository:
        place = self._places[position]
        with self._lock:
            if place not in self._open:
                who = self._credentials if place.endpoint.own else ANONYMOUS
                registry = Registry(place.endpoint, self._what, self._trust, who)
                self._open[place] = Repository(self._exits.enter_context(registry), place.path)
            return self._open[place]

    def close(self) -> None:
        self._exits.close()


@dataclass(frozen=True, slots=True)
class _RemoteLayer:
    """A `LayerSource` at a registry, and at those to be asked when that fails."""

    blob: Descriptor
    places: Places
    first: int
    """The position of the place that gave the manifest."""
    tell: Tell

    @property
    def digest(self) -> str:
        return self.blob.digest

    @property
    def origin(self) -> str:
        return self.places.repository(self.first).origin

    @property
    def size_bytes(self) -> int:
        return self.blob.size

    @property
    def media_type(self) -> str:
        return self.blob.media_type

    @property
    def shown(self) -> str:
        return self.blob.digest[7:19]

    def fetch(
        self, writer: BlobWriter, stop: threading.Event, progress: Callable[[int], None]
    ) -> None:
        """Writes all bytes into `writer`, from the place after where one fails in the middle."""
        with stopping(stop):
            for position in range(self.first, len(self.places)):
                try:
                    repository = self.places.repository(position)
                    repository.download(writer, progress, waiting(self.tell, self.shown))
                except _NEXT_PLACE:
                    if position == len(self.places) - 1:
                        raise
                else:
                    return


@dataclass(frozen=True, slots=True)
class _Found:
    """What a registry has under a name."""

    documents: tuple[Document, ...]
    manifest: Manifest
    config: bytes


class Pull:
    """One image by one name. `places` are closed by `run`."""

    def __init__(
        self,
        wanted: Reference,
        places: Places,
        installer: Installer,
        *,
        origins: OriginRecords,
        platform: Platform | None,
        tell: Tell,
    ) -> None:
        self._wanted = wanted
        self._what = f"image {wanted}"
        self._places = places
        self._installer = installer
        self._origins = origins
        self._platform = platform
        self._tell = tell

    async def run(self) -> tuple[str, str]:
        """The image's id, and the digest that the name stands for."""
        missed: list[str] = []
        try:
            for position, host in enumerate(self._places.shown):
                try:
                    return await self._from(position)
                except _NEXT_PLACE as e:
                    if position < len(self._places) - 1:
                        missed.append(host)
                    elif missed:
                        raise type(e)(
                            f"{e.message} (mirrors tried before: {', '.join(missed)})"
                        ) from e
                    else:
                        raise
        finally:
            self._places.close()
        raise NotFoundError(f"{self._what}: there is no registry to ask")

    async def _from(self, position: int) -> tuple[str, str]:
        try:
            found = await in_waiting_thread(partial(self._find, position))
            candidate = self._candidate(found, position)
            for layer in candidate.layers:
                self._tell(Progress(layer.shown, "Pulling fs layer"))
            (image_id,) = await self._installer.install([candidate], self._tell)
        except InvalidInputError as e:  # the registry's content is wrong, not the request
            raise RemoteError(f"{self._what}: {e.message.removeprefix(f'{self._what}: ')}") from e
        digest = found.documents[0].digest
        await in_thread(lambda _: self._remember(found, position))
        self._tell(Progress("", f"Digest: {digest}"))
        return image_id, digest

    def _remember(self, found: _Found, position: int) -> None:
        repository = self._places.repository(position)
        digests = found.manifest.links
        self._origins.add(digests, repository.registry.endpoint.host, repository.path)

    def _find(self, position: int, stop: threading.Event) -> _Found:
        with stopping(stop):
            repository = self._places.repository(position)
            tag = self._wanted.digest or self._wanted.tag or "latest"
            self._tell(Progress("", f"Pulling from {self._wanted.path}"))
            documents = tuple(self._documents(repository, self._wanted.digest, tag))
            last = documents[-1].found
            if not isinstance(last, manifest.Manifest):
                raise RemoteError(
                    f"{self._what}: indexes lie in indexes more than {_MAX_NESTING} deep"
                )
            return _Found(documents, last, self._config(repository, last, documents))

    def _documents(
        self, repository: Repository, digest: str | None, tag: str
    ) -> Iterator[Document]:
        """What the name stands for, down to the manifest for the platform."""
        for _ in range(_MAX_NESTING):
            raw, claimed, kind = repository.manifest(
                tag, manifest.ACCEPTED, manifest.MAX_BYTES, waiting(self._tell)
            )
            actual = digest_of(raw)
            if (digest or claimed or actual) != actual:
                raise RemoteError(
                    f"{self._what}: its manifest has the digest {actual}, not {digest or claimed}"
                )
            document = manifest.read(raw, f"{self._what}: its manifest")
            self._check_type(raw, kind)
            yield document
            if isinstance(document.found, manifest.Manifest):
                return
            digest = tag = document.found.choose(self._what, self._platform).digest

    def _check_type(self, raw: bytes, header: str) -> None:
        """Raises UnsupportedError: it says that it is something else than it looks like."""
        own = manifest.document(raw, self._what).get("mediaType", "")
        for kind in (own, header):
            if kind not in (*manifest.ACCEPTED, *_JSON_TYPES):
                raise UnsupportedError(
                    f"{self._what}: the registry has {kind!r:.120} there, which is no image "
                    "manifest that cgagent knows"
                )

    def _config(
        self, repository: Repository, found: Manifest, documents: tuple[Document, ...]
    ) -> bytes:
        kind = found.config.media_type
        if kind not in _CONFIG_TYPES:
            raise UnsupportedError(
                f"{self._what} is no container image: its config is {kind!r:.120}"
            )
        config = repository.blob(found.config, manifest.MAX_BYTES, waiting(self._tell))
        if digest_of(config) != found.config.digest:
            raise RemoteError(
                f"{self._what}: its config has the digest {digest_of(config)}, not "
                f"{found.config.digest}"
            )
        made_for = parse_config(config, self._what).architecture
        wanted = self._platform
        if wanted and len(documents) == 1 and made_for and made_for != wanted.architecture:
            raise UnsupportedError(
                f"{self._what} is made for linux/{made_for} alone, not for {wanted}"
            )
        return config

    def _candidate(self, found: _Found, position: int) -> Candidate:
        by_digest = f"{self._wanted.name}@{found.documents[0].digest}"
        return Candidate(
            self._what,
            found.config,
            found.manifest.config.media_type or manifest.OCI_CONFIG,
            tuple(
                _RemoteLayer(layer, self._places, position, self._tell)
                for layer in found.manifest.layers
            ),
            (by_digest,) if self._wanted.digest else (str(self._wanted), by_digest),
            found.documents,
        )
