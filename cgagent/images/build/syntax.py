"""From the text of a Dockerfile to its instructions.

A line that ends with the escape character goes on in the next one; comments and empty lines in
between are left out. RUN, COPY and ADD may have heredocs, whose lines follow the instruction.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from cgagent.errors import InvalidInputError
from cgagent.images.build.words import after_blanks, end_of_word, plain_words, split

NAMES: Final = frozenset(
    {
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
        *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
        "WORKDIR",
    }
)
_WITH_HEREDOCS: Final = frozenset({"ADD", "COPY", "RUN"})
_DIRECTIVE: Final = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+)")
_DIRECTIVES: Final = frozenset({"syntax", "escape", "check"})
_HEREDOC: Final = re.compile(r"(\d*)<<(-?)([^<]+)")
_FLAG: Final = re.compile(r"--([A-Za-z][A-Za-z0-9-]*)(?:=(.*))?", re.DOTALL)
_BAD: Final = "dockerfile parse error"
_MAX_BYTES: Final = 4 << 20
_MAX_INSTRUCTIONS: Final = 5000
_NO_TEXT: Final = re.compile(r"[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """Lines that stand for a file, or for a shell's input."""

    name: str
    content: str
    expands: bool = True
    """Whether variables in it are replaced: its name was not quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    name: str
    """In capitals."""
    arguments: str
    """What follows the flags, on one line."""
    flags: tuple[tuple[str, str | None], ...] = ()
    """Names without their dashes; None: no value was given."""
    heredocs: tuple[Heredoc, ...] = ()
    line: int = 0
    """Of its beginning, from 1."""

    @property
    def text(self) -> str:
        """As people write it, on one line."""
        flags = [
            f"--{name}" + (f"={value}" if value is not None else "") for name, value in self.flags
        ]
        return " ".join(filter(None, (self.name, *flags, self.arguments)))

    @property
    def words(self) -> tuple[str, ...] | None:
        """The exec form, a JSON list of strings; None: it is another form."""
        return json_words(self.arguments)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    syntax: str = ""


def json_words(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None  # as docker: then it is text
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        return None
    return tuple(found)


def bad(line: int, message: str) -> InvalidInputError:
    return InvalidInputError(f"{_BAD} on line {line}: {message}")


def is_bad(error: InvalidInputError) -> bool:
    """Whether it is one of `bad`, which says where."""
    return error.message.startswith(_BAD)


def parse(raw: bytes) -> Dockerfile:
    """Raises InvalidInputError, which names the line."""
    if len(raw) > _MAX_BYTES:
        raise InvalidInputError(f"the Dockerfile is larger than {_MAX_BYTES} bytes")
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        raise bad(line, f"it is not UTF-8 (byte {raw[e.start]:#04x})") from None
    if "\0" in text:
        raise bad(text[: text.index("\0")].count("\n") + 1, "it has a NUL")
    return _Reader(text.replace("\r\n", "\n")).dockerfile()


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._next = 0
        self._directives: dict[str, str] = {}

    def dockerfile(self) -> Dockerfile:
        self._read_directives()
        escape = self._directives.get("escape", "\\")
        if escape not in {"\\", "`"}:
            raise bad(1, f"invalid escape directive {escape!r}: it is \\ or `")
        found = []
        while (logical := self._logical_line(escape)) is not None:
            if logical[0]:
                found.append(self._instruction(*logical, escape))
            if len(found) > _MAX_INSTRUCTIONS:
                raise bad(logical[1], f"there are more than {_MAX_INSTRUCTIONS} instructions")
        if not found:
            raise InvalidInputError("dockerfile parse error: file with no instructions")
        return Dockerfile(tuple(found), escape, self._directives.get("syntax", ""))

    def _read_directives(self) -> None:
        for line in self._lines:
            match = _DIRECTIVE.fullmatch(line.strip())
            name = match[1].lower() if match else ""
            if match is None or name not in _DIRECTIVES:
                return
            if name in self._directives:
                raise bad(self._next + 1, f"only one {name} parser directive can be used")
            self._directives[name] = match[2]
            self._next += 1

    def _logical_line(self, escape: str) -> tuple[str, int] | None:
        """The next instruction on one line, and the number of the line that it begins on."""
        goes_on = re.compile(rf"(?:^|(?<!{re.escape(escape)})){re.escape(escape)}[ \t]*$")
        text, first = "", 0
        while self._next < len(self._lines):
            line = self._lines[self._next]
            self._next += 1
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = first or self._next
            line = line if text else line.lstrip()
            match = goes_on.search(line)
            text += line[: match.start()] if match else line
            if match is None:
                break
        return (text.strip(), first) if first else None

    def _instruction(self, text: str, line: int, escape: str) -> Instruction:
        name, rest = _first_word(text)
        if name.upper() not in NAMES:
            raise bad(line, f"unknown instruction: {name}")
        flags, rest = _flags(rest, escape)
        heredocs: tuple[Heredoc, ...] = ()
        wants = rest
        if name.upper() == "ONBUILD" and rest:
            inner, wants = _first_word(rest)
            _, wants = _flags(wants, escape)
        else:
            inner = name
        if inner.upper() in _WITH_HEREDOCS and "<<" in wants and json_words(wants) is None:
            heredocs = tuple(self._heredoc(*found, line) for found in _heredocs(wants, escape))
        made = Instruction(
            name=name.upper(), arguments=rest, flags=flags, heredocs=heredocs, line=line
        )
        if not rest:
            raise bad(line, f"{made.name} requires at least one argument")
        if any(map(_NO_TEXT.search, made.words or ())):
            raise bad(line, f"{made.name}: a NUL or half of a surrogate pair is no text")
        return made

    def _heredoc(self, name: str, strips: bool, expands: bool, line: int) -> Heredoc:
        content: list[str] = []
        while self._next < len(self._lines):
            found = self._lines[self._next]
            self._next += 1
            found = found.lstrip("\t") if strips else found
            if found == name:
                return Heredoc(name, "".join(f"{one}\n" for one in content), expands)
            content.append(found)
        raise bad(line, f"unterminated heredoc {name}: a line with its name alone is missing")


def _first_word(text: str) -> tuple[str, str]:
    name, *rest = text.split(None, 1)
    return name, rest[0] if rest else ""


def _flags(text: str, escape: str) -> tuple[tuple[tuple[str, str | None], ...], str]:
    """Those at the beginning, and what follows."""
    found: list[tuple[str, str | None]] = []
    position = 0
    while text.startswith("--", position):
        end = end_of_word(text, escape, position)
        word = text[position:end]
        match = _FLAG.fullmatch("".join(plain_words(word, escape)))
        if match is None and word != "--":
            break
        position = after_blanks(text, end)
        if match is None:
            break
        found.append((match[1], match[2]))
    return tuple(found), text[position:]


def _heredocs(text: str, escape: str) -> list[tuple[str, bool, bool]]:
    """Name, whether tabs are taken off, whether variables are replaced: of each in a line."""
    found = []
    for word in split(text, escape):
        match = _HEREDOC.fullmatch(word)
        if match is None:
            continue
        names = plain_words(match[3], escape)
        if len(names) == 1:
            found.append((names[0], bool(match[2]), not re.search(r"['\"\\]", match[3])))
    return found
