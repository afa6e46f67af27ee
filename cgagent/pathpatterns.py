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
_MAX_WITHIN_NAMES: Final = 3


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
    """A name is matched in time in proportion to its length, whatever the pattern.

    Between two ``**`` are whole parts of a path, and where they fit first is as good as where they
    fit later: what was matched once (``(?>...)``) is not tried again.
    """
    found = ""
    *blocks, last = _blocks(pattern)
    if any(block and block[-1] != "/" for block in (blocks if last else blocks[:-1])):
        return _within_names(pattern, [*blocks, last])
    for number, block in enumerate(blocks):
        found += f"(?>(?:.*?/)??{_stars(block)})" if number else _stars(block)
    if blocks and not last:
        return re.compile(f"{found}.*", re.DOTALL)
    found += "(?:.*/)?" if blocks else ""
    return re.compile(found + _stars(last, to_end=True), re.DOTALL)


def _within_names(pattern: str, blocks: list[list[str]]) -> re.Pattern[str]:
    """Of a ``**`` amid a name, which has to be tried everywhere: there cannot be many."""
    if pattern.count("*") > _MAX_WITHIN_NAMES:
        raise re.error("too many * beside a ** that is amid a name; write /**/")
    texts = ("".join(piece or "[^/]*" for piece in block) for block in blocks)
    return re.compile("(?:.*/)?".join(texts), re.DOTALL)


def _blocks(pattern: str) -> list[list[str]]:
    """What is between the ``**``, and after the last one: a list of pieces, "" is a ``*``."""
    found: list[list[str]] = [[]]
    position = 0
    while position < len(pattern):
        if not pattern.startswith("**", position):
            piece, position = _piece(pattern, position + 1, pattern[position])
            found[-1].append(piece)
            continue
        while pattern.startswith("**", position):
            position += 2
            position += position < len(pattern) and pattern[position] == "/"
        found.append([])
    return found


def _stars(pieces: list[str], *, to_end: bool = False) -> str:
    """Each ``*`` and what follows it; `to_end`: the last one has to fit at the end of the text."""
    first, *others = _at_stars(pieces)
    last = [f"[^/]*{others.pop()}"] if others and to_end else []
    return "".join([first, *(f"(?>[^/]*?{one})" for one in others), *last])


def _at_stars(pieces: list[str]) -> list[str]:
    found = [""]
    for piece in pieces:
        if piece:
            found[-1] += piece
        else:
            found.append("")
    return found


def _piece(pattern: str, position: int, c: str) -> tuple[str, int]:
    """The expression for what begins with `c`, "" for a ``*``, and where it ends."""
    if c == "*":
        return "", position
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
    found: list[str] = []
    position = 0
    try:
        while position < len(pattern):
            piece, position = _piece(pattern, position + 1, pattern[position])
            found.append(piece)
        return re.compile(_stars(found, to_end=True), re.DOTALL)
    except re.error as e:
        raise InvalidInputError(f"pattern {pattern!r} is malformed: {e}") from None


def deep_glob(pattern: str) -> re.Pattern[str]:
    """The same with ``**`` for any number of directories, as COPY --parents has it.

    Raises:
        InvalidInputError: it is malformed.
    """
    try:
        return _ignored(pattern)
    except re.error as e:
        raise InvalidInputError(f"pattern {pattern!r} is malformed: {e}") from None
