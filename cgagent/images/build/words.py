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
MAX_VALUES: Final = 1 << 20
"""Characters that values put into one instruction: a command may have no more in all."""
_MAX_DEPTH: Final = 50
_MAX_REPLACED_IN: Final = 4096
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


def end_of_word(text: str, escape: str = "\\", position: int = 0) -> int:
    """Where the word at `position` ends, which has its quotes still."""
    quote = ""
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
    position = after_blanks(text, 0)
    while position < len(text):
        end = end_of_word(text, escape, position)
        found.append(text[position:end])
        position = after_blanks(text, end)
    return found


def after_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


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
        self._depth = 0
        self._left = MAX_VALUES

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
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise WordError(f"variables are nested deeper than {_MAX_DEPTH}")
        found = self._value()
        self._depth -= 1
        self._take(len(found))
        return found

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise WordError(f"the values of its variables have over {MAX_VALUES} characters")

    def _value(self) -> str:
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
            return self._replaced(name, value or "", pattern, new, 0 if operator == "//" else 1)
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

    def _replaced(self, name: str, value: str, pattern: str, new: str, count: int) -> str:
        if len(value) > _MAX_REPLACED_IN:
            raise WordError(f"{name} has over {_MAX_REPLACED_IN} characters to replace some of")
        expression = re.compile(_glob(_pieces(pattern, self._escape), is_longest=True), re.DOTALL)
        self._take(len(new) * (count or len(expression.findall(value))))
        return expression.sub(lambda _: new, value, count=count)

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


def _pieces(pattern: str, escape: str) -> list[list[str]]:
    """What is between the ``*`` of a shell's pattern: an expression for each character."""
    found: list[list[str]] = [[]]
    characters = iter(pattern)
    for c in characters:
        if c == "*":
            found.append([])
        elif c == "?":
            found[-1].append(".")
        else:
            found[-1].append(re.escape(next(characters, c) if c == escape else c))
    return found


def _glob(pieces: list[list[str]], *, is_longest: bool) -> str:
    """What matches from its beginning on, in time in proportion to the text's length.

    Where a piece fits first is as good as where it fits later, so it is not tried again. Only the
    last one says how long the match is.
    """
    first, *others = ("".join(piece) for piece in pieces)
    last = [f".*{others.pop()}"] if others and is_longest else []
    return "".join([first, *(f"(?>.*?{piece})" for piece in others), *last])


def _trimmed(value: str, pattern: str, operator: str, escape: str) -> str:
    pieces = _pieces(pattern, escape)
    is_end = operator[0] == "%"
    if is_end:
        value, pieces = value[::-1], [piece[::-1] for piece in reversed(pieces)]
    found = re.compile(_glob(pieces, is_longest=len(operator) > 1), re.DOTALL).match(value)
    left = value[found.end() :] if found else value
    return left[::-1] if is_end else left
