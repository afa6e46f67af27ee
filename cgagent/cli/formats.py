"""``--format``: text with fields in docker's form, of one thing or of each in a list.

There are fields, ``json`` before one, and ``table`` before it all. Go's other words are refused.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.output import table
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHOLE: Final = frozenset({"json", "{{json .}}"})
"""Formats that show all of a thing."""
_FIELD: Final = re.compile(r'\{\{\s*(json\s+)?((?:\.\w+)+)(?:\s+"([^"]*)")?\s*\}\}')
_ESCAPES: Final = {"\\t": "\t", "\\n": "\n"}


def print_listed(
    items: Sequence[dict[str, Any]], format_: str, headings: Mapping[str, str]
) -> None:
    """A line for each thing, or a table of them; `headings` by field.

    Raises:
        InvalidInputError: the format names a field that is not there.
    """
    for written, meant in _ESCAPES.items():
        format_ = format_.replace(written, meant)
    if format_ != "table" and not format_.startswith("table "):
        for item in items:
            print(_json(_plain(item)) if format_ in WHOLE else fill(item, format_))
        return
    columns = format_.removeprefix("table").strip(" ").split("\t")
    if columns == [""]:
        columns = [f"{{{{.{name}}}}}" for name in headings]
    titles = [
        _FIELD.sub(lambda m: m[3] or headings.get(m[2][1:], m[2][1:].upper()), c) for c in columns
    ]
    print(table(titles, [[fill(item, c) for c in columns] for item in items]))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if not isinstance(value, dict)}


def print_all(found: list[dict[str, Any]], format_: str | None) -> None:
    """As JSON, or a line of text for each.

    Raises:
        InvalidInputError: the format names a field that is not there.
    """
    if format_ in WHOLE:
        for item in found:
            print(_json(item))
    elif format_:
        for item in found:
            print(fill(item, format_))
    else:
        print(json.dumps(found, indent=4))


def fill(item: dict[str, Any], format_: str) -> str:
    """The format with its fields. Raises InvalidInputError: what is no field that is there."""
    other = re.search(r"\{\{.*", _FIELD.sub("", format_))
    if other:
        raise InvalidInputError(
            f"--format: {other[0]!r}: only fields such as {{{{.State.Status}}}} are known"
        )
    return _FIELD.sub(partial(_field, item), format_)


def _field(item: dict[str, Any], match: re.Match[str]) -> str:
    value: Any = item
    for name in match[2].split(".")[1:]:
        if not isinstance(value, dict) or name not in value:
            raise InvalidInputError(f"--format: there is no field {match[2]}")
        value = value[name]
    if match[3] is not None:  # {{.Label "name"}}
        labels = item.get("Labels") if match[2] == ".Label" else None
        if not isinstance(value, dict) or labels is None:
            raise InvalidInputError(f"--format: {match[2]} takes no name")
        return str(value.get(match[3], ""))
    if match[1] or isinstance(value, dict | list):
        return _json(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
