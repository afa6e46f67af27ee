"""Frozen records as plain values for JSON, and back; pydantic does both by the fields' types."""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")
_ADAPTERS: Final[dict[type, TypeAdapter[Any]]] = {}
"""Making one takes a hundred times as long as using it."""


def to_plain(value: object) -> Any:
    """Dictionaries, lists, texts and numbers."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_plain(kind: type[T], value: object) -> T:
    """The inverse of `to_plain`, after JSON. Raises ValueError."""
    return cast("T", _adapter(kind).validate_python(value))


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
