"""Values as Go's fmt prints them: ``%v`` and the other verbs. (https://pkg.go.dev/fmt)"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.templates.lexing import SURROGATES, TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NO_VALUE: Final = "<no value>"
"""What text/template prints of a key that a map does not have."""
WIDEST: Final = 1_000_000
"""No width and no precision may be more, as in Go."""
_DIGITS: Final = 7
_SHOWN: Final = 40
_VERB: Final = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d*))?(?P<verb>.?)", re.DOTALL
)
_TYPES: Final = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}


def printed(value: Any) -> str:
    """As an action prints it."""
    return NO_VALUE if value is None else verbatim(value)


def verbatim(value: Any) -> str:
    """As ``%v`` does: lists in brackets, maps in the order of their keys."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return number(value)
        case dict():
            pairs = " ".join(f"{key}:{verbatim(value[key])}" for key in sorted(value))
            return f"map[{pairs}]"
        case list() | tuple():
            return f"[{' '.join(map(verbatim, value))}]"
        case _:
            return str(value)


def number(value: float) -> str:
    """As ``%v`` of a float64: the shortest digits, with an exponent below 1e-4 and from 1e21 on."""
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - not a number
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    if value == 0 or 1e-4 <= abs(value) < 1e21:  # noqa: PLR2004
        return str(int(value)) if value == int(value) else _plain(repr(value))
    digits, _, exponent = repr(value).partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent):+03d}"


def _plain(digits: str) -> str:
    if "e" not in digits:
        return digits
    return format(float(digits), ".25f").rstrip("0").rstrip(".")


def print_all(values: Sequence[Any]) -> str:
    """As Sprint: a blank between two of which neither is a string."""
    text = ""
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            text += " "
        text += verbatim(value)
    return text


def printf(form: str, values: Sequence[Any]) -> str:
    """As Sprintf. What does not fit a verb is named in the text, as Go does it."""
    left = list(values)

    def filled(match: re.Match[str]) -> str:
        if match["verb"] == "%":
            return "%"
        if not match["verb"]:
            return "%!(NOVERB)"
        width = match["width"] or ""
        flags = match["flags"]
        if width == "*":
            if not left or not isinstance(asked := left.pop(0), int) or abs(asked) > WIDEST:
                return "%!(BADWIDTH)"
            flags, width = (flags + "-" if asked < 0 else flags), str(abs(asked))
        if len(width) > _DIGITS or len(match["precision"] or "") > _DIGITS:
            raise TemplateError(f"printf: {match[0][:_SHOWN]!r} is too wide")
        if not left:
            return f"%!{match['verb']}(MISSING)"
        precision = None if match["precision"] is None else int(match["precision"] or 0)
        text = _one(match["verb"], flags, precision, left.pop(0))
        return _padded(text, flags, int(width or 0), match["verb"])

    text = _VERB.sub(filled, form)
    if left:
        extra = ", ".join(f"{_type(v)}={verbatim(v)}" for v in left)
        text += f"%!(EXTRA {extra})"
    return text


def _padded(text: str, flags: str, width: int, verb: str) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb not in "sqv":
        sign = text[:1] if text[:1] in ("+", "-") else ""
        return sign + text.removeprefix(sign).rjust(width - len(sign), "0")
    return text.rjust(width)


def _one(verb: str, flags: str, precision: int | None, value: Any) -> str:
    match verb, value:
        case "v", _:
            return verbatim(value)
        case "T", _:
            return _type(value)
        case "t", bool():
            return verbatim(value)
        case (("s" | "q"), list()):
            return f"[{' '.join(_one(verb, flags, precision, v) for v in value)}]"
        case _, str() if verb in _OF_STRINGS:
            return _OF_STRINGS[verb](value[:precision])
        case "c", int() if not 0 <= value <= sys.maxunicode or value in SURROGATES:
            return "\N{REPLACEMENT CHARACTER}"
        case _, int() if verb in "dboxXc" and not isinstance(value, bool):
            return _signed(value, format(value, verb), "" if verb == "c" else flags)
        case _, float() if verb in "eEfFgG":
            if precision is None and verb in "gG":
                return _signed(value, number(value), flags)
            return _signed(
                value, format(value, f".{6 if precision is None else precision}{verb}"), flags
            )
        case _:
            return f"%!{verb}({_type(value)}={verbatim(value)})"


_OF_STRINGS: Final[dict[str, Callable[[str], str]]] = {
    "s": str,
    "q": lambda text: json.dumps(text, ensure_ascii=False),
    "x": lambda text: text.encode().hex(),
    "X": lambda text: text.encode().hex().upper(),
}


def _signed(value: float, text: str, flags: str) -> str:
    return f"+{text}" if "+" in flags and value >= 0 else text


def _type(value: Any) -> str:
    return _TYPES.get(
        type(value), "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
    )
