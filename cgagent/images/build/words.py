"""Variables and quotes in the arguments of a Dockerfile's instructions.

    $name ${name}                 the value, or nothing
    ${name:-word} ${name:+word}   if it is empty or not set, if it is neither; without ``:``
                                  an empty value counts as set
    ${name:?word}                 else it is an error
    ${name#p} ${name##p}          without the shortest, the longest beginning like a pattern
    ${name%p} ${name%%p}          the same of its end
    ${name/p/word} ${name//p/word}  the first, every place like a pattern replaced

Single quotes keep what they enclose, double ones all but variables and escapes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#]")
_OPERATORS: Final = re.compile(r":[-+?]|##|#|%%|%|//|/|[-+?]")
_NOTHING: Final[Mapping[str, str]] = {}


class WordError(ValueError):
    """A word that is malformed, or a variable that must be set and is not."""


def expanded(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """One word, whatever blanks are in it. Raises WordError."""
    return "".join(piece for piece, _ in _Expansion(text, variables, escape).run())


def words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """Split at blanks that are neither quoted nor escaped; those of values split, too."""
    found: list[str] = []
    word: str | None = None
    for piece, is_quoted in _Expansion(text, variables, escape).run():
        if is_quoted:
            word = (word or "") + piece
            continue
        for part in re.split(r"(\s+)", piece):
            if part.isspace():
                if word is not None:
                    found.append(word)
                word = None
            elif part:
                word = (word or "") + part
    return found if word is None else [*found, word]


def in_text(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Text with its variables replaced, and its quotes as they are. Raises WordError."""
    return _Expansion(text, variables, escape).in_text()


def end_of_word(text: str, escape: str = "\\") -> int:
    """Where the first word ends, which has its quotes still."""
    quote, position = "", 0
    while position < len(text):
        c = text[position]
        if c == escape and position + 1 < len(text):
            position += 1
        elif quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c.isspace():
            break
        position += 1
    return position


def split(text: str, escape: str = "\\") -> list[str]:
    """Its words as they are written, with their quotes."""
    found = []
    while text := text.lstrip():
        end = end_of_word(text, escape)
        found.append(text[:end])
        text = text[end:]
    return found


def plain_words(text: str, escape: str = "\\") -> list[str]:
    """As `words`, but a ``$`` means nothing. Raises nothing: an open quote ends with the text."""
    found = _Expansion(text, _NOTHING, escape, is_plain=True)
    word: str | None = None
    done: list[str] = []
    for piece, is_quoted in found.run():
        for c in [piece] if is_quoted else piece:
            if not is_quoted and c.isspace():
                done += [] if word is None else [word]
                word = None
            else:
                word = (word or "") + c
    return done if word is None else [*done, word]


class _Expansion:
    """Pieces of the text, each with whether blanks in it are its own."""

    def __init__(
        self, text: str, variables: Mapping[str, str], escape: str, *, is_plain: bool = False
    ) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._is_plain = is_plain
        self._at = 0

    def run(self, end: str = "") -> list[tuple[str, bool]]:
        """Up to `end` outside of quotes, which is passed over; to the text's end without."""
        found: list[tuple[str, bool]] = []
        while self._at < len(self._text):
            c = self._text[self._at]
            if end and c == end:
                self._at += 1
                return found
            self._at += 1
            if c == "'":
                found.append((self._single(), True))
            elif c == '"':
                found += [(piece, True) for piece in self._double()] or [("", True)]
            elif c == "$" and not self._is_plain:
                found.append((self._variable(), False))
            elif c == self._escape and self._at < len(self._text):
                found.append((self._text[self._at], True))
                self._at += 1
            else:
                found.append((c, False))
        if end:
            raise WordError(f"{self._text!r}: a {end} is missing")
        return found

    def in_text(self) -> str:
        found = []
        while self._at < len(self._text):
            c = self._text[self._at]
            self._at += 1
            if c == "$":
                found.append(self._variable())
            elif c == self._escape and self._text[self._at : self._at + 1] == "$":
                found.append("$")
                self._at += 1
            else:
                found.append(c)
        return "".join(found)

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            if self._is_plain:
                end = len(self._text)
            else:
                raise WordError(f"{self._text!r}: a single quote is not closed")
        found = self._text[self._at : end]
        self._at = end + 1
        return found

    def _double(self) -> list[str]:
        found: list[str] = []
        while self._at < len(self._text):
            c = self._text[self._at]
            self._at += 1
            if c == '"':
                return found
            if c == "$" and not self._is_plain:
                found.append(self._variable())
            elif c == self._escape and self._text[self._at : self._at + 1] in {
                '"',
                "$",
                self._escape,
            }:
                found.append(self._text[self._at])
                self._at += 1
            else:
                found.append(c)
        if self._is_plain:
            return found
        raise WordError(f"{self._text!r}: a double quote is not closed")

    def _variable(self) -> str:
        is_braced = self._text[self._at : self._at + 1] == "{"
        start = self._at + is_braced
        match = _NAME.match(self._text, start)
        if match is None:
            if is_braced:
                raise WordError(f"{self._text!r}: ${{ has no name of a variable after it")
            return "$"
        self._at = match.end()
        value = self._variables.get(match[0])
        if not is_braced:
            return value or ""
        if self._text[self._at : self._at + 1] == "}":
            self._at += 1
            return value or ""
        operator = _OPERATORS.match(self._text, self._at)
        if operator is None:
            raise WordError(f"{self._text!r}: unsupported modifier in ${{{match[0]}...")
        self._at = operator.end()
        return self._modified(match[0], value, operator[0])

    def _modified(self, name: str, value: str | None, operator: str) -> str:
        if operator in {"/", "//"}:
            pattern = self._raw("/}")
            new = self._word() if self._text[self._at - 1] == "/" else ""
            count = 0 if operator == "//" else 1
            return _glob(pattern, self._escape).sub(lambda _: new, value or "", count=count)
        if operator[0] in "#%":
            return _trimmed(value or "", self._raw("}"), operator, self._escape)
        word = self._word()
        is_set = bool(value) if operator[0] == ":" else value is not None
        kind = operator[-1]
        if kind == "-":
            return (value or "") if is_set else word
        if kind == "+":
            return word if is_set else ""
        if not is_set:
            raise WordError(f"{name}: {word or 'not allowed to be unset'}")
        return value or ""

    def _word(self) -> str:
        return "".join(piece for piece, _ in self.run("}"))

    def _raw(self, ends: str) -> str:
        """A pattern, with its variables replaced and its escapes kept, and past its end."""
        found = ""
        while self._at < len(self._text):
            c = self._text[self._at]
            self._at += 1
            if c in ends:
                return found
            if c == "$":
                found += self._variable()
            elif c == self._escape and self._at < len(self._text):
                found += c + self._text[self._at]
                self._at += 1
            else:
                found += c
        raise WordError(f"{self._text!r}: a }} is missing")


def _glob(pattern: str, escape: str, *, lazy: bool = False) -> re.Pattern[str]:
    """A shell's pattern, with ``*`` and ``?``."""
    found, characters = "", iter(pattern)
    for c in characters:
        if c == "*":
            found += ".*?" if lazy else ".*"
        elif c == "?":
            found += "."
        else:
            found += re.escape(next(characters, c) if c == escape else c)
    return re.compile(found, re.DOTALL)


def _trimmed(value: str, pattern: str, operator: str, escape: str) -> str:
    expression = _glob(pattern, escape)
    lengths = range(len(value) + 1)
    if operator[0] == "#":
        fitting = [n for n in lengths if expression.fullmatch(value[:n])]
        cut = (max if operator == "##" else min)(fitting, default=0)
        return value[cut:]
    fitting = [n for n in lengths if expression.fullmatch(value[n:])]
    cut = (min if operator == "%%" else max)(fitting, default=len(value))
    return value[:cut]
