"""Docker's filters: ``{"NAME": {"VALUE": true}}`` as Go sends them, or ``{"NAME": ["VALUE"]}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.api import bodies
from cgagent.engine import listfilters
from cgagent.errors import InvalidInputError
from cgagent.moments import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Filters:
    """The values of each name, in the order of the request."""

    def __init__(self, values: dict[str, tuple[str, ...]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, text: str, known: Sequence[str]) -> Filters:
        """Raises InvalidInputError: it is none, or has a name that is not `known`."""
        if not text:
            return cls({})
        try:
            found = bodies.parse(text.encode())
        except (bodies.RefusedError, UnicodeEncodeError) as e:
            raise InvalidInputError(f"invalid filter: {e}") from None
        if not isinstance(found, dict):
            raise InvalidInputError("invalid filter: it is not a JSON object")
        for name in found:
            if name not in known:
                raise InvalidInputError(f"invalid filter '{name}'")
        return cls({name: _values(name, value) for name, value in found.items()})

    def __iter__(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        return iter(self._values.items())

    def get(self, name: str) -> tuple[str, ...]:
        return self._values.get(name, ())

    def flag(self, name: str) -> bool | None:
        """None: not asked for. Raises InvalidInputError: it is no truth value."""
        return listfilters.flag(self._values, name)

    def pairs(self) -> list[str]:
        """All as ``NAME=VALUE``."""
        return [f"{name}={value}" for name, values in self for value in values]

    def prune_pairs(self) -> list[str]:
        """Those that the engine's prunes know, with a time in Unix seconds."""
        found = [f"{n}={v}" for n in ("label", "label!") for v in self.get(n)]
        moments = [(moment(value, "until") or 0) / 1e9 for value in self.get("until")]
        return [*found, *(f"until={at_s}" for at_s in moments)]


def _values(name: str, found: Any) -> tuple[str, ...]:
    if isinstance(found, dict):
        found = [value for value, is_set in found.items() if is_set]
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise InvalidInputError(f"invalid filter '{name}': it is not a list of texts")
    return tuple(found)
