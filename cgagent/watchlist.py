"""Which groups of the host are sampled beside containers: the setting `watch`.

Each is a pattern, or a table ``{pattern, name, labels, depth}``; see docs/metrics.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from cgagent.errors import InvalidInputError

MAX_DEPTH: Final = 8
_FIELDS: Final = ("name", "parent", "path")
_FIELD: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Watch:
    """Groups that a pattern matches, and what their series are called."""

    pattern: str
    """A path below the root group, each part with a shell's wildcards; ``**`` is any levels."""
    name: str = "{name}"
    """Of the series' label `name`: text with {name} and {parent}, parts of the path, or {path}."""
    labels: tuple[tuple[str, str], ...] = ()
    """Further labels of all of them, as ``container_label_KEY``."""
    depth: int = MAX_DEPTH
    """How many levels ``**`` goes down."""

    def name_of(self, path: str) -> str:
        above, _, name = path.rpartition("/")
        parts = {"name": name, "parent": above.rpartition("/")[2], "path": path}
        return _FIELD.sub(lambda found: parts[found[1]], self.name)


def parse(value: Any, origin: str) -> Watch:
    """A string, or a table with its fields.

    Raises:
        InvalidInputError: neither, or a field that is unknown or of another type.
    """
    table = {"pattern": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or not table.keys() <= {"pattern", "name", "labels", "depth"}:
        raise InvalidInputError(
            f"{origin}: watch: each must be a pattern, or a table of pattern, name, labels, depth"
        )
    pattern, name = table.get("pattern"), table.get("name", "{name}")
    if not isinstance(pattern, str) or not pattern.strip("/ "):
        raise InvalidInputError(f"{origin}: watch: {pattern!r} is no pattern of groups")
    if not isinstance(name, str) or not {*_FIELD.findall(name)} <= {*_FIELDS}:
        raise InvalidInputError(
            f"{origin}: watch: name {name!r} may have {{name}}, {{parent}} and {{path}}"
        )
    labels, depth = table.get("labels", {}), table.get("depth", MAX_DEPTH)
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise InvalidInputError(f"{origin}: watch: labels must be a table of strings")
    if type(depth) is not int or not 0 <= depth <= MAX_DEPTH:
        raise InvalidInputError(f"{origin}: watch: depth must be a number up to {MAX_DEPTH}")
    return Watch(pattern.strip(), name, tuple(labels.items()), depth)
