"""What a prune is told to leave: docker's filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FORMS: Final = "until=UNIX_SECONDS, label=NAME[=VALUE] and label!=NAME[=VALUE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFilters:
    """Each of them must hold."""

    until_ns: int | None = None
    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> PruneFilters:
        """Raises InvalidInputError."""
        until_ns, labels, not_labels = None, [], []
        for text in texts:
            name, _, value = text.partition("=")
            if name == "label":
                labels.append(value)
            elif name == "label!":
                not_labels.append(value)
            elif name == "until" and value.replace(".", "", 1).isdigit():
                until_ns = int(float(value) * 1e9)
            else:
                raise InvalidInputError(f"filter {text!r}: there are {_FORMS}")
        return cls(until_ns=until_ns, labels=tuple(labels), not_labels=tuple(not_labels))

    def hold(self, made_ns: float, labels: Mapping[str, str]) -> bool:
        return (
            (self.until_ns is None or made_ns < self.until_ns)
            and all(has_label(labels, wanted) for wanted in self.labels)
            and not any(has_label(labels, unwanted) for unwanted in self.not_labels)
        )


def by_name(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The values of each name, of filters as ``NAME=VALUE``."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        found[name] = (*found.get(name, ()), value)
    return found


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """``NAME``, or ``NAME=VALUE``."""
    name, separator, value = wanted.partition("=")
    return name in labels and (not separator or labels[name] == value)
