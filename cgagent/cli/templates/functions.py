"""What a pipeline may call: text/template's own functions, and those that docker adds."""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.templates.lexing import TemplateError
from cgagent.cli.templates.printing import WIDEST, print_all, printf, verbatim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def is_true(value: Any) -> bool:
    """Go's truth: not zero, not empty."""
    return bool(value)


def index(value: Any, *keys: Any) -> Any:
    """``index x 1 "y"``: x[1]["y"]. A key that a map of strings lacks is an empty string."""
    for key in keys:
        match value:
            case dict():
                missing = "" if all(isinstance(v, str) for v in value.values()) else None
                value = value.get(key, missing)
            case list() | str():
                if not isinstance(key, int) or isinstance(key, bool):
                    raise TemplateError(f"cannot index a list with {verbatim(key)}")
                if not 0 <= key < len(value):
                    raise TemplateError(f"index out of range: {key}")
                value = value[key] if isinstance(value, list) else ord(value[key])
            case _:
                raise TemplateError(f"cannot index {verbatim(value)}")
    return value


def _slice(value: Any, *ends: int) -> Any:
    if not isinstance(value, str | list):
        raise TemplateError(f"cannot slice {verbatim(value)}")
    begin, end = [*ends, *(0, len(value))[len(ends) :]][:2]
    if not 0 <= begin <= end <= len(value):
        raise TemplateError(f"slice {begin}:{end} is out of range")
    return value[begin:end]


def _len(value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise TemplateError(f"len of {verbatim(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _comparable(first: Any, second: Any) -> None:
    kinds = [
        bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v)
        for v in (first, second)
    ]
    if kinds[0] is not kinds[1] or kinds[0] in {list, dict}:
        raise TemplateError(f"{verbatim(first)} and {verbatim(second)} cannot be compared")


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("eq: missing argument for comparison")
    for other in others:
        if first is not None and other is not None:
            _comparable(first, other)
        if first == other:
            return True
    return False


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(first: Any, second: Any) -> bool:
        _comparable(first, second)
        if isinstance(first, bool) or first is None:
            raise TemplateError(f"{verbatim(first)} has no order")
        return compare(first, second)

    return ordered


def _escaped(text: str) -> str:
    from html import escape  # slow to load, and seldom asked for

    return escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _quoted(text: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _pad(text: str, before: int, after: int) -> str:
    """docker's: an empty text stays empty."""
    if max(before, after) > WIDEST:
        raise TemplateError(f"pad: more than {WIDEST} blanks")
    return f"{' ' * before}{text}{' ' * after}" if text else text


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "html": lambda *v: _escaped(print_all(v)),
    "index": index,
    "js": lambda *v: json.dumps(print_all(v))[1:-1].replace("'", "\\'"),
    "len": _len,
    "not": lambda v: not is_true(v),
    "print": lambda *v: print_all(v),
    "printf": lambda form, *v: printf(form, v),
    "println": lambda *v: " ".join(map(verbatim, v)) + "\n",
    "slice": _slice,
    "urlquery": lambda *v: _quoted(print_all(v)),
    "eq": _eq,
    "ne": lambda first, second: not _eq(first, second),
    "lt": _ordered(operator.lt),
    "le": _ordered(operator.le),
    "gt": _ordered(operator.gt),
    "ge": _ordered(operator.ge),
    # docker's
    "join": lambda words, sep: sep.join(words or ()),
    "json": _json,
    "lower": str.lower,
    "pad": _pad,
    "split": lambda text, sep: text.split(sep) if sep else list(text),
    "title": lambda text: re.sub(r"(?<!\w)\w", lambda m: m[0].upper(), text),
    "truncate": lambda text, length: text[:length],
    "upper": str.upper,
}
"""All but ``and`` and ``or``, which do not look at each of their arguments."""

OF_HEADINGS: Final = {
    **FUNCTIONS,
    **dict.fromkeys(
        ("join", "json", "lower", "pad", "split", "title", "truncate", "upper"),
        lambda heading, *_: heading,
    ),
}
"""In the heading of a table docker's own functions leave its words as they are."""
