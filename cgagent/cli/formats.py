"""``--format``: a template of Go's, as docker takes it, of one thing or of each in a list.

`cgagent.cli.templates` fills them; here are the words around: ``json``, ``table``, headings.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.output import table
from cgagent.cli.templates import Template, TemplateError
from cgagent.cli.templates.functions import FUNCTIONS, OF_HEADINGS
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WHOLE: Final = frozenset({"json", "{{json .}}"})
"""Formats that show all of a thing."""
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
    row = format_.removeprefix("table").strip(" ") or "\t".join(f"{{{{.{n}}}}}" for n in headings)
    titles = fill(_Headings(headings), row, OF_HEADINGS).split("\t")
    print(table(titles, [_cells(fill(item, row), len(titles)) for item in items]))


def _cells(line: str, columns: int) -> list[str]:
    """A tab in a value makes no column more than there are headings."""
    cells = line.split("\t", columns - 1)
    return cells + [""] * (columns - len(cells))


class _Headings(dict[str, Any]):
    """The headings of all fields that a thing might have."""

    def __contains__(self, field: object) -> bool:
        return True

    def __missing__(self, field: str) -> Any:
        return _LabelHeadings() if field == "Label" else field.upper()


class _LabelHeadings(dict[str, str]):
    """docker's: of ``com.example.some-thing`` the last part, in words."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - dict's
        return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


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


def fill(
    item: dict[str, Any],
    format_: str,
    functions: Mapping[str, Callable[..., Any]] = FUNCTIONS,
) -> str:
    """The format, filled. Raises InvalidInputError: it cannot be read, or a field is not there."""
    try:
        return _template(format_).render(item, functions)
    except TemplateError as e:
        raise InvalidInputError(f"--format: {e}") from None


@cache
def _template(format_: str) -> Template:
    return Template(format_)
