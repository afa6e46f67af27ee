"""The words of a template: text, and what stands between ``{{`` and ``}}``."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACTION: Final = re.compile(
    r"""\{\{(?P<trim_left>-\s)?
        (?P<words>(?: (?>/\*.*?\*/) | "(?:\\.|[^"\\\n])*" | `[^`]*` | '(?:\\.|[^'\\\n])*'
            | (?!\}\}|\{\{|/\*|["`']). )*?)
        (?P<trim_right>\s-)?\}\}""",
    re.VERBOSE | re.DOTALL,
)
"""Each alternative begins as no other does and ends in one way: a long text is no long work."""
_WORD: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>/\*.*?\*/)
      | (?P<string>"(?:\\.|[^"\\\n])*" | `[^`]*`)
      | (?P<char>'(?:\\.|[^'\\\n])*')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
            | \d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)? | \.\d+))
      | (?P<field>\.\w+)
      | (?P<dot>\.)
      | (?P<variable>\$\w*)
      | (?P<name>\w+)
      | (?P<sign>:=|=|\||\(|\)|,)""",
    re.VERBOSE | re.DOTALL,
)
SURROGATES: Final = range(0xD800, 0xE000)
"""No characters: halves of pairs in UTF-16."""
_TURNED: Final = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))",
    re.DOTALL,
)


class TemplateError(Exception):
    """A template that cannot be read, or that asks for what is not there."""


class Word:
    """One of an action; `spaced`: something stands between it and the one before."""

    __slots__ = ("kind", "spaced", "text")

    def __init__(self, kind: str, text: str, *, spaced: bool) -> None:
        self.kind = kind
        self.text = text
        self.spaced = spaced


def pieces(template: str) -> Iterator[str | list[Word]]:
    """The text between actions, and the words of each.

    Raises:
        TemplateError: an action that has no end, or something in it that is no word.
    """
    at = 0
    trim = False
    while at < len(template):
        begin = template.find("{{", at)
        text = template[at:] if begin < 0 else template[at:begin]
        action = None if begin < 0 else _ACTION.match(template, begin)
        if begin >= 0 and action is None:
            raise TemplateError(f"{template[begin:]!r} has no end, or a quote in it has none")
        if trim:
            text = text.lstrip()
        if action is not None and action["trim_left"]:
            text = text.rstrip()
        if text:
            yield text
        if action is None:
            return
        found = _words(action["words"])
        if found or not action["words"].strip():
            yield found
        trim = action["trim_right"] is not None
        at = action.end()


def _words(action: str) -> list[Word]:
    words: list[Word] = []
    at = 0
    spaced = True
    while at < len(action):
        match = _WORD.match(action, at)
        if match is None:
            raise TemplateError(f"{action.strip()!r}: {action[at]!r} is not expected there")
        kind = str(match.lastgroup)
        if kind not in {"space", "comment"}:
            words.append(Word(kind, match[0], spaced=spaced))
        spaced = kind in {"space", "comment"}
        at = match.end()
    return words


def unquoted(text: str) -> str:
    """What a quoted string of Go's says.

    Raises:
        TemplateError: an escape that Go does not have.
    """
    if text[0] == "`":
        return text[1:-1]

    def turned(match: re.Match[str]) -> str:
        simple, two, four, eight, octal, _ = match.groups()
        if simple:
            return _TURNED[simple]
        if octal:
            return chr(int(octal, 8))
        code = int(two or four or eight or "d800", 16)
        if code > sys.maxunicode or code in SURROGATES:
            raise TemplateError(f"{text}: {match[0]!r} is no escape")
        return chr(code)

    return _ESCAPE.sub(turned, text[1:-1])
