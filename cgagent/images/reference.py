"""Names of images: Docker's grammar and its short forms, as text. Knows no store, no registry.

    reference      = [domain "/"] path [":" tag] ["@" digest]
    domain         = host [":" port], recognised by a ".", a ":", an upper-case letter or
                     "localhost"; absent means docker.io
    path           = component *("/" component), at most 255 characters; a single component
                     at docker.io means library/<component>
    component      = lower-case letters and digits, inside them single "." or "_", "__" or "-"s
    tag            = [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}; absent, without a digest, means latest
    digest         = "sha256:" 64 hexadecimal digits

Grammar: https://pkg.go.dev/github.com/distribution/reference
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cgagent.errors import InvalidInputError

DOCKER_DOMAIN: Final = "docker.io"
_LEGACY_DOMAIN: Final = "index.docker.io"
_PATH_MAX: Final = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether this is a whole sha256 digest with its algorithm."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete name: a domain, a path, and a tag or a digest or both."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: ``alpine``, ``user/app``, ``localhost:5000/x``."""
        if self.domain != DOCKER_DOMAIN:
            return self.name
        namespace, _, rest = self.path.partition("/")
        if _is_domain(namespace) and rest:
            return self.name  # without docker.io it would read as another registry's
        return rest if namespace == "library" and rest and "/" not in rest else self.path

    @property
    def familiar(self) -> str:
        """The whole reference in its short form: ``alpine:latest``."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def __str__(self) -> str:
        return self.name + self._suffix


def parse(text: str) -> Reference:
    """The reference a user wrote, completed as Docker completes it.

    Raises:
        InvalidInputError: naming the part that breaks the grammar.
    """
    if not text:
        raise InvalidInputError("image name is empty")
    if _HEX64.fullmatch(text):
        raise InvalidInputError(
            f"image name {text!r} is 64 hexadecimal digits, which names an image by id, not a "
            "repository"
        )
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(text, digest)
    tag = None
    head, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail:
        rest, tag = head, tail
        if not _TAG.fullmatch(tag):
            raise InvalidInputError(
                f"image name {text!r}: tag {tag!r} must be up to 128 letters, digits, '_', '.' "
                "and '-', not beginning with '.' or '-'"
            )
    domain, path = _split(rest)
    _check_domain(text, domain)
    _check_path(text, path)
    if not tag and not at:
        tag = "latest"
    return Reference(domain, path, tag, digest or None)


def taggable(text: str) -> Reference:
    """A name for an image that is here, with a tag.

    Raises:
        InvalidInputError: it is malformed, or has a digest, which nobody can choose.
    """
    found = parse(text)
    if found.digest:
        raise InvalidInputError(f"image name {text!r} has a digest: give it a tag instead")
    return found


def bare_repository(text: str) -> str | None:
    """The canonical name of a repository, where `text` has neither tag nor digest; else None."""
    if "@" in text or ":" in text.rpartition("/")[2]:
        return None
    try:
        return parse(text).name
    except InvalidInputError:
        return None


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    domain, path = (first, rest) if slash and _is_domain(first) else (DOCKER_DOMAIN, name)
    if domain == _LEGACY_DOMAIN:
        domain = DOCKER_DOMAIN
    if domain == DOCKER_DOMAIN and path and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _is_domain(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first.lower() != first


def _check_domain(text: str, domain: str) -> None:
    if not _DOMAIN.fullmatch(domain):
        raise InvalidInputError(
            f"image name {text!r}: registry {domain!r} is not a host name with an optional port"
        )


def _check_path(text: str, path: str) -> None:
    shown = path.removeprefix("library/") if "/" in path else path
    if not path or not shown:
        raise InvalidInputError(f"image name {text!r} has no repository")
    if len(path) > _PATH_MAX:
        raise InvalidInputError(
            f"image name {text[:60]!r}...: the repository is {len(path)} characters long, more "
            f"than {_PATH_MAX}"
        )
    if shown.lower() != shown:
        raise InvalidInputError(f"image name {text!r}: repository {shown!r} must be lower case")
    for component in path.split("/"):
        if not _COMPONENT.fullmatch(component):
            raise InvalidInputError(
                f"image name {text!r}: repository component {component!r} must be lower-case "
                "letters and digits, with '.', '_', '__' or '-' only between them"
            )


def _check_digest(text: str, digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    if algorithm != "sha256":
        raise InvalidInputError(
            f"image name {text!r}: digest algorithm {algorithm!r} is not supported; sha256 is"
        )
    if not _HEX64.fullmatch(encoded):
        raise InvalidInputError(
            f"image name {text!r}: digest {digest!r} must be sha256: and 64 lower-case "
            "hexadecimal digits"
        )
