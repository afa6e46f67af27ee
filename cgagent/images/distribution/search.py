"""Searching a registry: Docker Hub's index, or the catalogue of a registry that has no search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from cgagent.errors import NotFoundError, RemoteError
from cgagent.images.distribution.repository import listed, patiently

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.images.distribution.transport import Registry

_MAX_BYTES: Final = 4 << 20
_PAGE: Final = 1000
_CATALOG: Final = ("registry:catalog:*",)


@dataclass(frozen=True, slots=True)
class Found:
    """A repository, in Docker's words."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


def search(
    registry: Registry, prefix: str, term: str, limit: int, tell: Callable[[int], None]
) -> list[Found]:
    """`prefix` goes before each name."""
    try:
        found = _by_index(registry, term, limit, tell)
    except NotFoundError:
        found = _by_catalogue(registry, term, limit, tell)
    return [
        Found(prefix + one.name, one.description, one.star_count, one.is_official, one.is_automated)
        for one in found[:limit]
    ]


def _by_index(
    registry: Registry, term: str, limit: int, tell: Callable[[int], None]
) -> list[Found]:
    url = f"/v1/search?{urlencode({'q': term, 'n': limit})}"

    def attempt() -> bytes:
        with registry.request("GET", url) as response:
            return registry.read(response, _MAX_BYTES, "its answer")

    try:
        results = json.loads(patiently(attempt, tell))["results"]
        return [_found(result) for result in results]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise RemoteError(f"{registry.what}: registry {registry.shown} has no search") from None


def _found(result: dict[str, Any]) -> Found:
    return Found(
        str(result["name"]),
        str(result.get("description") or ""),
        int(result.get("star_count") or 0),
        is_official=bool(result.get("is_official")),
        is_automated=bool(result.get("is_automated")),
    )


def _by_catalogue(
    registry: Registry, term: str, limit: int, tell: Callable[[int], None]
) -> list[Found]:
    def fitting(names: list[str]) -> list[str]:
        return [name for name in names if term in name]

    names = listed(
        registry,
        f"/v2/_catalog?n={_PAGE}",
        "repositories",
        _CATALOG,
        tell,
        enough=lambda found: len(fitting(found)) >= limit,
    )
    return [Found(name) for name in fitting(names)]
