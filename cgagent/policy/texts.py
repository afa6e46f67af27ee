"""What a container asks the agent to do for it by itself, each in a text of its own.

``KEY=VALUE,...`` is the form that most have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection

OFF: Final = frozenset({"", "off"})
_LONGEST: Final = 400


def parsed_options(text: str, what: str, known: Collection[str], form: str) -> dict[str, str]:
    """The values by their keys, each at most once.

    Raises:
        InvalidInputError: it has not this form; `form` says how to write it.
    """
    if len(text) > _LONGEST:
        raise InvalidInputError(f"{what}: it is longer than {_LONGEST} letters; {form}")
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if key not in known or not equals or not value:
            raise InvalidInputError(f"{what} {text[:80]!r}: {part[:40]!r} is not known; {form}")
        if key in found:
            raise InvalidInputError(f"{what} {text[:80]!r}: {key} is there twice; {form}")
        found[key] = value
    return found
