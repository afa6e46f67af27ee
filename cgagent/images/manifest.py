"""Manifests and indexes, OCI's and Docker's schema 2, read from JSON that nobody vouches for.

Formats: https://github.com/opencontainers/image-spec/blob/main/manifest.md and image-index.md,
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

import json
import platform as host_platform
from dataclasses import dataclass
from typing import Any, Final

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images.content import digest_of
from cgagent.images.layers import MAX_LAYERS
from cgagent.images.reference import is_digest

MAX_BYTES: Final = 4 << 20
"""Of a manifest, an index or a config."""

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
ACCEPTED: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ()),
    "aarch64": ("arm64", ("v8",)),
    "armv7l": ("arm", ("v7", "v6", "v5")),
    "armv6l": ("arm", ("v6", "v5")),
    "ppc64le": ("ppc64le", ()),
    "s390x": ("s390x", ()),
    "riscv64": ("riscv64", ()),
    "i686": ("386", ()),
}
_SYSTEMS: Final = frozenset({"linux", "windows", "freebsd", "darwin"})
_SPELLINGS: Final = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm"}
_USUAL: Final = frozenset({("arm64", "v8"), ("amd64", "v1")})
"""The variant that an image means which says none."""
_VARIANTS: Final = {"arm64": ("v8",), "arm": ("v7", "v6", "v5"), "amd64": ("v1",)}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a manifest points to."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """Bottom first."""

    @property
    def links(self) -> tuple[str, ...]:
        return (self.config.digest, *(layer.digest for layer in self.layers))


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``OS/ARCH[/VARIANT]``, or one of the first two alone.

        Raises:
            InvalidInputError
        """
        parts = text.lower().split("/")
        if not all(parts) or len(parts) > 3:  # noqa: PLR2004 - as many as there are
            raise InvalidInputError(f"platform {text!r} is not OS/ARCH[/VARIANT]")
        own, _ = this_architecture()
        if len(parts) == 1:
            parts = [parts[0], own] if parts[0] in _SYSTEMS else ["linux", parts[0]]
        architecture = _SPELLINGS.get(parts[1], parts[1])
        return cls(parts[0], architecture, *parts[2:])

    @property
    def variants(self) -> tuple[str, ...]:
        """Which of them will do, best first."""
        own, variants = this_architecture()
        if self.variant:
            return (self.variant, *(("",) if (self.architecture, self.variant) in _USUAL else ()))
        of_this = variants if self.architecture == own else ()
        return (*of_this, "", *_VARIANTS.get(self.architecture, ()))


@dataclass(frozen=True, slots=True)
class Index:
    entries: tuple[tuple[Platform | None, Descriptor], ...]
    """`None`: the entry does not say."""

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(target.digest for _, target in self.entries)

    def choose(self, what: str, wanted: Platform | None = None) -> Descriptor:
        """The entry for a platform; None: for this machine.

        Raises:
            UnsupportedError: there is none; the message lists what there is.
        """
        own = Platform("linux", this_architecture()[0])
        platform = wanted or own
        for variant in platform.variants:
            for found, descriptor in self.entries:
                if found == Platform(platform.os, platform.architecture, variant):
                    return descriptor
        unnamed = [descriptor for platform, descriptor in self.entries if platform is None]
        if wanted in (None, own) and len(unnamed) == len(self.entries) == 1:
            return unnamed[0]
        # BuildKit lists attestations under unknown/unknown.
        there = sorted({str(p) for p, _ in self.entries if p and p.os != "unknown"})
        raise UnsupportedError(
            f"{what} is not made for {platform}, only for "
            f"{', '.join(there) or 'no platform at all'}"
        )


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index with the bytes that it was read from."""

    raw: bytes
    digest: str
    media_type: str
    found: Manifest | Index


def this_architecture() -> tuple[str, tuple[str, ...]]:
    """This machine in the image world's names, with the variants it runs, best first."""
    machine = host_platform.machine()
    return _ARCHITECTURES.get(machine, (machine, ()))


def document(raw: bytes, what: str) -> dict[str, Any]:
    """`raw` as a JSON object.

    Raises:
        InvalidInputError: it is not one, or has text that no file could have: half a character.
    """
    try:
        loaded = json.loads(raw)
        json.dumps(loaded, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as e:
        raise InvalidInputError(f"{what} is not JSON: {e}") from None
    if not isinstance(loaded, dict):
        raise InvalidInputError(f"{what} is not a JSON object")
    return loaded


def parse(raw: bytes, what: str) -> Manifest | Index:
    """The manifest or index in `raw`.

    Raises:
        InvalidInputError: malformed, or describes no container image.
        UnsupportedError: schema 1, or layers that must be fetched from elsewhere.
    """
    found = document(raw, what)
    if found.get("schemaVersion") == 1:
        raise UnsupportedError(
            f"{what} is in the obsolete schema 1: the image must be pushed again by a current tool"
        )
    if isinstance(found.get("manifests"), list):
        return Index(tuple(_index_entry(entry, what) for entry in found["manifests"]))
    layers = found.get("layers")
    if not isinstance(layers, list) or not isinstance(found.get("config"), dict):
        raise InvalidInputError(f"{what} describes no container image: no config or no layers")
    if len(layers) > MAX_LAYERS:
        raise UnsupportedError(f"{what} has {len(layers)} layers, more than {MAX_LAYERS}")
    return Manifest(
        descriptor(found["config"], what),
        tuple(_layer(descriptor(layer, what), what) for layer in layers),
    )


def read(raw: bytes, what: str) -> Document:
    """As `parse`, with what is needed to keep it. Without a media type of its own it is OCI's."""
    found = parse(raw, what)
    media_type = document(raw, what).get("mediaType")
    if media_type not in ACCEPTED:
        media_type = OCI_MANIFEST if isinstance(found, Manifest) else OCI_INDEX
    return Document(raw, digest_of(raw), media_type, found)


def descriptor(found: Any, what: str) -> Descriptor:
    if not isinstance(found, dict):
        raise InvalidInputError(f"{what}: a descriptor is not a JSON object")
    digest, size = found.get("digest"), found.get("size")
    media_type = found.get("mediaType", "")
    if not isinstance(digest, str) or not is_digest(digest):
        raise InvalidInputError(f"{what}: a descriptor's digest {digest!r:.100} is not sha256")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise InvalidInputError(f"{what}: a descriptor's size {size!r:.40} is no size")
    if not isinstance(media_type, str):
        raise InvalidInputError(f"{what}: a descriptor's media type is not text")
    return Descriptor(media_type, digest, size)


def _layer(found: Descriptor, what: str) -> Descriptor:
    kind = found.media_type
    if "foreign" in kind or "nondistributable" in kind:
        raise UnsupportedError(
            f"{what}: layer {found.digest[:19]} is foreign ({kind}): it lies outside the registry"
        )
    return found


def _index_entry(found: Any, what: str) -> tuple[Platform | None, Descriptor]:
    target = descriptor(found, what)
    named = found.get("platform")
    if not isinstance(named, dict):
        return None, target
    parts = [named.get(key, "") for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) for part in parts):
        raise InvalidInputError(f"{what}: a platform is not text")
    return Platform(*parts), target
