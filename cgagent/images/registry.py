"""Pulling: from a name to an image in the store, by way of mirrors and indexes.

Everything a registry sends is verified by digest or size before it is used.
https://github.com/opencontainers/distribution-spec
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.errors import (
    DeadlineError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    UnavailableError,
)
from cgagent.images import manifest
from cgagent.images.content import digest_of
from cgagent.images.http import Endpoint, Repository
from cgagent.images.install import Candidate, Installer, Progress
from cgagent.images.reference import DOCKER_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.config import Settings
    from cgagent.images.content import Lease
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
    """A `LayerSource` at a registry."""

    blob: Descriptor
    repository: Repository

    @property
    def digest(self) -> str:
        return self.blob.digest

    @property
    def size_bytes(self) -> int:
        return self.blob.size

    @property
    def shown(self) -> str:
        return self.blob.digest[7:19]

    async def fetch(self, lease: Lease, progress: Callable[[int], None]) -> str:
        with lease.writer(self.blob.size, self.blob.digest) as writer:
            await self.repository.download(writer, progress)
            return await in_thread(lambda _: writer.commit(self.blob.media_type))


class Registries:
    def __init__(self, settings: Settings, installer: Installer) -> None:
        self._settings = settings
        self._installer = installer

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
                documents, found = await self._documents(repository, wanted.digest, tag, what)
                candidate = await self._candidate(repository, found, wanted, documents)
                for layer in candidate.layers:
                    progress(Progress(layer.shown, "Pulling fs layer"))
                (image_id,) = await self._installer.install([candidate], progress)
                progress(Progress("", f"Digest: {documents[0].digest}"))
                return image_id
        except InvalidInputError as e:  # the registry's content is wrong, not the request
            raise RemoteError(f"{what}: {e.message.removeprefix(f'{what}: ')}") from e

    async def _documents(
        self, repository: Repository, digest: str | None, tag: str, what: str
    ) -> tuple[tuple[manifest.Document, ...], manifest.Manifest]:
        """What the name stands for, down to the manifest for this machine, and that once more."""
        documents: tuple[manifest.Document, ...] = ()
        for _ in range(_MAX_NESTING):
            raw, claimed = await repository.manifest(tag, manifest.ACCEPTED, manifest.MAX_BYTES)
            actual = digest_of(raw)
            if (digest or claimed or actual) != actual:
                raise RemoteError(
                    f"{what}: its manifest has the digest {actual}, not {digest or claimed}"
                )
            documents += (manifest.read(raw, f"{what}: its manifest"),)
            found = documents[-1].found
            if isinstance(found, manifest.Manifest):
                return documents, found
            digest = tag = found.choose(what).digest
        raise RemoteError(f"{what}: indexes lie in indexes more than {_MAX_NESTING} deep")

    async def _candidate(
        self,
        repository: Repository,
        found: manifest.Manifest,
        wanted: Reference,
        documents: tuple[manifest.Document, ...],
    ) -> Candidate:
        what = f"image {wanted}"
        config = await repository.blob(found.config, manifest.MAX_BYTES)
        if digest_of(config) != found.config.digest:
            raise RemoteError(
                f"{what}: its config has the digest {digest_of(config)}, not {found.config.digest}"
            )
        by_digest = f"{wanted.name}@{documents[0].digest}"
        return Candidate(
            what,
            config,
            found.config.media_type,
            tuple(_RemoteLayer(layer, repository) for layer in found.layers),
            (by_digest,) if wanted.digest else (str(wanted), by_digest),
            documents,
        )
