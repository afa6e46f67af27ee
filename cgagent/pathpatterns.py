"""Patterns of paths: a .dockerignore, and the sources of COPY and ADD.

In a .dockerignore ``*`` and ``?`` do not match a slash, ``**`` matches any number of directories, a
pattern that begins with ``!`` takes back what those before it left out, and what is below a
directory that a pattern names is left out with it. The last pattern that fits counts.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from cgagent.errors import InvalidInputError

_META: Final = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class _Rule:
    expression: re.Pattern[str]
    takes_back: bool
    text: str


class Ignore:
    """What a .dockerignore leaves out. Paths have no slash at their beginning."""

    def __init__(self, rules: tuple[_Rule, ...] = ()) -> None:
        self._rules = rules
        self.takes_back = any(rule.takes_back for rule in rules)
        """Whether something in a directory that is left out may not be."""

    @classmethod
    def parse(cls, text: str) -> Ignore:
        """Raises InvalidInputError: a malformed pattern."""
        rules = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            takes_back = pattern.startswith("!")
            pattern = pattern.removeprefix("!").strip()
            if not pattern:
                raise InvalidInputError(f".dockerignore line {number}: nothing follows the '!'")
            cleaned = posixpath.normpath(pattern).lstrip("/")
            try:
                rules.append(_Rule(_ignored(cleaned), takes_back, cleaned))
            except re.error as e:
                raise InvalidInputError(
                    f".dockerignore line {number}: pattern {pattern!r} is malformed: {e}"
                ) from None
        return cls(tuple(rule for rule in rules if rule.text != "."))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def hides(self, path: str) -> bool:
        """Whether it is left out, itself or with a directory above it."""
        above = [path]
        while "/" in above[-1]:
            above.append(above[-1].rpartition("/")[0])
        is_hidden = False
        for rule in self._rules:
            if rule.takes_back == is_hidden and any(map(rule.expression.fullmatch, above)):
                is_hidden = not rule.takes_back
        return is_hidden


def _ignored(pattern: str) -> re.Pattern[str]:
    found, position = "", 0
    while position < len(pattern):
        c = pattern[position]
        position += 1
        if pattern.startswith("**", position - 1):
            position += 1
            if position == len(pattern):
                found += ".*"
            else:
                position += pattern[position] == "/"
                found += "(?:.*/)?"
        else:
            piece, position = _piece(pattern, position, c)
            found += piece
    return re.compile(found, re.DOTALL)


def _piece(pattern: str, position: int, c: str) -> tuple[str, int]:
    """The expression for what begins with `c`, and where it ends."""
    if c == "*":
        return "[^/]*", position
    if c == "?":
        return "[^/]", position
    if c == "\\" and position < len(pattern):
        return re.escape(pattern[position]), position + 1
    if c == "[":
        end = pattern.find("]", position + 1)
        if end < 0:
            raise re.error("a [ is not closed")
        inside = pattern[position:end]
        inside = "^" + inside[1:] if inside[:1] in {"!", "^"} else inside
        return f"(?!/)[{inside.replace('[', chr(92) + '[')}]", end + 1
    return re.escape(c), position


def is_glob(path: str) -> bool:
    return _META.search(path) is not None


def glob(pattern: str) -> re.Pattern[str]:
    """Of a source of COPY: it matches paths with as many slashes as it has.

    Raises:
        InvalidInputError: it is malformed.
    """
    found, position = "", 0
    try:
        while position < len(pattern):
            piece, position = _piece(pattern, position + 1, pattern[position])
            found += piece
        return re.compile(found, re.DOTALL)
    except re.error as e:
        raise InvalidInputError(f"pattern {pattern!r} is malformed: {e}") from None
