"""What the settings say of registries: the table ``[registries]`` and the names to block or add.

Each key of the table is a prefix of image names, ``docker.io`` or ``quay.io/team``; the longest
that fits holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cgagent.errors import InvalidInputError

_FLAGS: Final = ("--add-registry", "--block-registry", "--insecure-registry")


@dataclass(frozen=True, slots=True)
class RegistryRule:
    location: str = ""
    """What stands in the prefix's place when a registry is asked; empty: the prefix itself."""
    mirrors: tuple[str, ...] = ()
    """Locations asked before, in order; one with a scheme is a base URL, as Docker has them."""
    blocked: bool = False
    insecure: bool = False
    """Plain HTTP, or TLS that is not verified, will do."""


def parse(value: Any, origin: str) -> dict[str, RegistryRule]:
    """The table by its prefixes.

    Raises:
        InvalidInputError: a field that is not known, or of the wrong type.
    """
    if not isinstance(value, dict):
        raise InvalidInputError(f"{origin}: registries must be a table")
    return {prefix.strip("/"): _rule(prefix, fields, origin) for prefix, fields in value.items()}


def _rule(prefix: str, fields: Any, origin: str) -> RegistryRule:
    shown = f"{origin}: registries.{prefix}"
    if not isinstance(fields, dict):
        raise InvalidInputError(f"{shown} must be a table")
    for name, field in fields.items():
        if name == "mirrors":
            fits = isinstance(field, list) and all(isinstance(item, str) for item in field)
        elif name == "location":
            fits = isinstance(field, str)
        else:
            fits = name in {"blocked", "insecure"} and isinstance(field, bool)
        if not fits:
            raise InvalidInputError(
                f"{shown}: {name} = {field!r}: there are location (a string), mirrors (a list of "
                "strings), blocked and insecure (true or false)"
            )
    return RegistryRule(**{**fields, "mirrors": tuple(fields.get("mirrors", ()))})


def words(text: str) -> list[str]:
    """Of a variable in Docker's unit files: ``--add-registry a``, or the names alone."""
    plain = text.replace(",", " ").replace("=", " ").replace('"', " ").replace("'", " ")
    return [word for word in plain.split() if word not in _FLAGS]
