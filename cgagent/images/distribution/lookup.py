"""What a registry has under a name, without fetching it: a digest, and the platforms it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cgagent.errors import RemoteError
from cgagent.images import manifest
from cgagent.images.content import digest_of
from cgagent.images.distribution.pull import waiting
from cgagent.images.manifest import Index, Platform

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.images.candidate import Progress
    from cgagent.images.distribution.repository import Repository
    from cgagent.images.manifest import Manifest
    from cgagent.images.reference import Reference


@dataclass(frozen=True, slots=True)
class Described:
    digest: str
    media_type: str
    size_bytes: int
    """Of the document that the name stands for."""
    platforms: tuple[Platform, ...]


def look_up(
    repository: Repository, wanted: Reference, tell: Callable[[Progress], None]
) -> Described:
    """Ask the registry.

    Raises:
        NotFoundError, DeniedError, UnavailableError, DeadlineError.
        RemoteError: an answer that is not what the name says, or no manifest.
    """
    what = f"image {wanted}"
    tag = wanted.digest or wanted.tag or "latest"
    raw, claimed, _ = repository.manifest(tag, manifest.ACCEPTED, manifest.MAX_BYTES, waiting(tell))
    digest = digest_of(raw)
    if (wanted.digest or claimed or digest) != digest:
        raise RemoteError(f"{what}: its manifest has the digest {digest}, not {tag}")
    document = manifest.read(raw, f"{what}: its manifest")
    found = document.found
    if isinstance(found, Index):
        platforms = tuple(platform for platform, _ in found.entries if platform is not None)
    else:
        platforms = (_platform(repository, found, what, tell),)
    return Described(digest, document.media_type, len(raw), platforms)


def _platform(
    repository: Repository, found: Manifest, what: str, tell: Callable[[Progress], None]
) -> Platform:
    config = repository.blob(found.config, manifest.MAX_BYTES, waiting(tell))
    if digest_of(config) != found.config.digest:
        raise RemoteError(f"{what}: its config has not the digest {found.config.digest}")
    named: dict[str, Any] = manifest.document(config, what)
    texts = (named.get(name) or "" for name in ("os", "architecture", "variant"))
    return Platform(*map(str, texts))
