"""Pulling: from a name to an image in the store, by way of mirrors and indexes.

Everything a registry sends is verified by digest or size before it is used. Blobs stay in the
blob store for the length of the pull. https://github.com/opencontainers/distribution-spec
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import (
    DeadlineError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    UnavailableError,
)
from cgagent.images import manifest
from cgagent.images.concurrency import KeyedLock
from cgagent.images.http import Endpoint, Repository
from cgagent.images.install import Candidate, Installer, Progress
from cgagent.images.reference import DOCKER_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from cgagent.config import Settings
    from cgagent.images.blobs import BlobStore
    from cgagent.images.manifest import Descriptor
    from cgagent.images.reference import Reference

_DOCKER_HUB: Final = "registry-1.docker.io"
_MAX_NESTING: Final = 4
_NEXT_ENDPOINT: Final = (
    DeadlineError,
    DeniedError,
    NotFoundError,
    RemoteError,
    UnavailableError,
)
"""What another registry may do better."""


@dataclass(frozen=True, slots=True)
class _RemoteLayer:
    """A `LayerSource` at a registry; `digest` is none since `fetch` has verified it."""

    blob: Descriptor
    repository: Repository
    blobs: BlobStore
    downloads: KeyedLock
    digest: None = None

    @property
    def size_bytes(self) -> int:
        return self.blob.size

    @property
    def shown(self) -> str:
        return self.blob.digest[7:19]

    async def fetch(self, progress: Callable[[int], None]) -> None:
        async with self.downloads.hold(self.blob.digest):
            if self.blobs.has(self.blob.digest):
                return  # by another pull at the same time
            with self.blobs.writer(self.blob.digest, self.blob.size) as writer:
                await self.repository.download(writer, progress)
                writer.commit()

    def open(self) -> BinaryIO:
        return open(self.blobs.path(self.blob.digest), "rb")


class Registries:
    def __init__(self, settings: Settings, blobs: BlobStore, installer: Installer) -> None:
        self._settings = settings
        self._blobs = blobs
        self._installer = installer
        self._downloads = KeyedLock()

    async def pull(self, wanted: Reference, progress: Callable[[Progress], None]) -> str:
        """The id of the image, which is in the store under the name `wanted`.

        Raises:
            NotFoundError: the registry does not have it.
            DeniedError: it does not exist or requires a login.
            UnavailableError, DeadlineError: no answer.
            RemoteError: an answer that cannot be used, a wrong digest among them.
            UnsupportedError: not made for this machine, or in a format cgagent cannot read.
            NoSpaceError
        """
        endpoints = self._endpoints(wanted.domain)
        missed: list[str] = []
        for endpoint in endpoints[:-1]:
            try:
                return await self._pull_from(endpoint, wanted, progress)
            except _NEXT_ENDPOINT:
                missed.append(endpoint.shown)
        try:
            return await self._pull_from(endpoints[-1], wanted, progress)
        except _NEXT_ENDPOINT as e:
            if not missed:
                raise
            tried = f"{e.message} (mirrors tried before: {', '.join(missed)})"
            raise type(e)(tried) from e

    def _endpoints(self, domain: str) -> list[Endpoint]:
        insecure = self._settings.insecure_registries
        if domain != DOCKER_DOMAIN:
            return [Endpoint.of(domain, insecure)]
        mirrors = self._settings.registry_mirrors
        return [Endpoint.of(address, insecure) for address in (*mirrors, _DOCKER_HUB)]

    async def _pull_from(
        self, endpoint: Endpoint, wanted: Reference, progress: Callable[[Progress], None]
    ) -> str:
        what = f"image {wanted}"
        try:
            async with Repository(endpoint, wanted.path, what) as repository:
                tag = wanted.digest or wanted.tag or "latest"
                progress(Progress("", f"Pulling from {wanted.path}"))
                digest, found = await self._manifest(repository, wanted.digest, tag, what)
                candidate = await self._candidate(repository, found, wanted, digest)
                for layer in candidate.layers:
                    progress(Progress(layer.shown, "Pulling fs layer"))
                with self._blobs.pinned(layer.digest for layer in found.layers):
                    (image_id,) = await self._installer.install([candidate], progress)
                progress(Progress("", f"Digest: {digest}"))
                return image_id
        except InvalidInputError as e:  # the registry's content is wrong, not the request
            raise RemoteError(f"{what}: {e.message.removeprefix(f'{what}: ')}") from e

    async def _manifest(
        self, repository: Repository, digest: str | None, tag: str, what: str
    ) -> tuple[str, manifest.Manifest]:
        """The manifest for this machine, and the digest that the name stands for."""
        named = None
        for _ in range(_MAX_NESTING):
            raw, claimed = await repository.manifest(tag, manifest.ACCEPTED, manifest.MAX_BYTES)
            actual = _digest(raw)
            if (digest or claimed or actual) != actual:
                raise RemoteError(
                    f"{what}: its manifest has the digest {actual}, not {digest or claimed}"
                )
            named = named or actual
            found = manifest.parse(raw, f"{what}: its manifest")
            if isinstance(found, manifest.Manifest):
                return named, found
            digest = tag = found.choose(what).digest
        raise RemoteError(f"{what}: indexes lie in indexes more than {_MAX_NESTING} deep")

    async def _candidate(
        self, repository: Repository, found: manifest.Manifest, wanted: Reference, digest: str
    ) -> Candidate:
        what = f"image {wanted}"
        config = await repository.blob(found.config, manifest.MAX_BYTES)
        if _digest(config) != found.config.digest:
            raise RemoteError(
                f"{what}: its config has the digest {_digest(config)}, not {found.config.digest}"
            )
        by_digest = f"{wanted.name}@{digest}"
        return Candidate(
            what,
            config,
            tuple(
                _RemoteLayer(layer, repository, self._blobs, self._downloads)
                for layer in found.layers
            ),
            (by_digest,) if wanted.digest else (str(wanted), by_digest),
        )


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
