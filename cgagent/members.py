"""The members of a dataclass, of an instance that may be of a class derived from it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def members(kind: type[DataclassInstance], value: object) -> dict[str, Any]:
    """The fields of `kind` in `value`, by name: arguments for `kind` or a class derived from it."""
    return {field.name: getattr(value, field.name) for field in fields(kind)}
