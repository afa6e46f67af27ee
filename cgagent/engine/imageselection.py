"""Which images a listing shows: docker's filters, each of which has to hold."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from cgagent.engine.filters import has_label
from cgagent.errors import InvalidInputError
from cgagent.images import reference
from cgagent.moments import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.images.image import Image

    Holds = Callable[[Image], bool]

FILTERS: Final = ("before", "dangling", "label", "reference", "since", "until")
_SHORT_ID: Final = 4
"""No shorter word is an id."""
_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})


def selected(images: Iterable[Image], filters: Mapping[str, tuple[str, ...]]) -> list[Image]:
    """In the order that they have, and with those of their names that a ``reference`` is like.

    Raises:
        InvalidInputError: a filter that is none, or names an image that is not there.
    """
    found = list(images)
    patterns = filters.get("reference", ())
    tests = [
        _test(name, value, found)
        for name, values in filters.items()
        if name != "reference"
        for value in values
    ]
    chosen = [image for image in found if all(test(image) for test in tests)]
    if not patterns:
        return chosen
    named = [replace(image, names=_like(image, patterns)) for image in chosen]
    return [image for image in named if image.names]


def _like(image: Image, patterns: Iterable[str]) -> tuple[str, ...]:
    """Its names that are like one of the patterns, and the digests of their repositories."""
    liked = [n for n in image.names if any(is_like(p, n) for p in patterns)]
    repositories = {reference.parse(name).name for name in liked}
    return tuple(
        name
        for name in image.names
        if name in liked or ("@" in name and reference.parse(name).name in repositories)
    )


def _test(name: str, value: str, found: list[Image]) -> Holds:
    if name == "label":
        return lambda image: has_label(image.config.labels, value)
    if name == "dangling" and value.lower() in _TRUE | _FALSE:
        if value.lower() in _TRUE:
            return lambda image: not image.tags
        return lambda image: bool(image.names)
    if name in {"before", "since"}:
        made = created_s(_named(value, found))
        if name == "before":
            return lambda image: created_s(image) < made
        return lambda image: created_s(image) > made
    if name == "until":
        until_s = (moment(value, "filter until") or 0) / 1e9
        return lambda image: created_s(image) < until_s
    raise InvalidInputError(f"invalid filter '{name}={value}'; there are {', '.join(FILTERS)}")


def created_s(image: Image) -> float:
    """Unix seconds; 0 where it does not say."""
    return image.created.timestamp() if image.created else 0.0


def _named(text: str, found: list[Image]) -> Image:
    digits = text.removeprefix("sha256:")
    is_id = len(digits) >= _SHORT_ID
    for image in found:
        is_named = not {text, f"{text}:latest"}.isdisjoint(image.tags)
        if is_named or (is_id and image.id[7:].startswith(digits)):
            return image
    raise InvalidInputError(f"filter: no such image: {text}")


def is_like(pattern: str, name: str) -> bool:
    """A pattern of a shell's for a name, with or without the tag; ``*`` ends before a slash."""
    wanted = pattern.split("/")
    parsed = reference.parse(name)
    return any(
        len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
        for parts in (form.split("/") for form in (parsed.familiar, parsed.familiar_name))
    )
