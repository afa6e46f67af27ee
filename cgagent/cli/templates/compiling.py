"""Reading a template: its pieces become nodes, the words of its actions values."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.templates import nodes, values
from cgagent.cli.templates.functions import FUNCTIONS
from cgagent.cli.templates.lexing import TemplateError, Word, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cgagent.cli.templates.nodes import Node
    from cgagent.cli.templates.values import Value

_ENDS: Final = frozenset({"end", "else"})
_OTHERS: Final = frozenset({"define", "block", "template"})


class Template:
    """A template that can be filled with many things.

    Raises:
        TemplateError: it cannot be read.
    """

    def __init__(self, text: str) -> None:
        with _within_reason():
            self._nodes = _Compiler(pieces(text)).template()

    def render(self, data: Any, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS) -> str:
        """Raises TemplateError: it asks for what `data` does not have."""
        written: list[str] = []
        scope = values.Scope(data, [("$", data)], functions)
        with _within_reason():
            nodes.run(self._nodes, scope, written)
        return "".join(written)


@contextmanager
def _within_reason() -> Iterator[None]:
    """Raises TemplateError: the template is nested too deeply for this interpreter."""
    try:
        yield
    except RecursionError:
        raise TemplateError("it is nested too deeply") from None


class _Compiler:
    """Reads pieces one after the other; `_depth` counts the ranges that it is in."""

    def __init__(self, found: Iterable[str | list[Word]]) -> None:
        self._pieces = iter(found)
        self._depth = 0

    def template(self) -> list[Node]:
        found, end = self._nodes()
        if end is not None:
            raise TemplateError(f"unexpected {{{{{end[0].text}}}}}")
        return found

    def _nodes(self) -> tuple[list[Node], list[Word] | None]:
        """Up to an ``end`` or ``else``, whose words come with them."""
        found: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                found.append(nodes.text(piece))
                continue
            if not piece:
                raise TemplateError("missing value for command: {{}}")
            name = piece[0].text if piece[0].kind == "name" else ""
            if name in _ENDS:
                return found, piece
            found.append(self._action(name, piece))
        return found, None

    def _action(self, name: str, words: list[Word]) -> Node:
        if name in _OTHERS:
            raise TemplateError(f"{{{{{name}}}}} is not known here: a format is one template")
        if name in {"break", "continue"}:
            if not self._depth:
                raise TemplateError(f"{{{{{name}}}}} outside of a range")
            return nodes.leave(whole=name == "break")
        if name in {"if", "with", "range"}:
            return self._control(name, words[1:])
        variables, value = _Pipeline(words).statement(most=1)
        return nodes.shown(value) if not variables else nodes.assigned(variables, value)

    def _control(self, name: str, words: list[Word]) -> Node:
        variables, value = _Pipeline(words).statement(most=2 if name == "range" else 1)
        self._depth += name == "range"
        body, end = self._nodes()
        self._depth -= name == "range"
        otherwise: list[Node] = []
        if end is not None and end[0].text == "else":
            if len(end) > 1:  # {{else if x}}: the rest, up to the same end
                if end[1].text not in nodes.CONTROLS:
                    raise TemplateError(f"unexpected {end[1].text!r} in {{{{else}}}}")
                otherwise = [self._control(end[1].text, end[2:])]
                return nodes.CONTROLS[name](variables, value, body, otherwise)
            otherwise, end = self._nodes()
        if end is None or end[0].text != "end" or len(end) > 1:
            raise TemplateError(f"{{{{{name}}}}} has no {{{{end}}}}")
        return nodes.CONTROLS[name](variables, value, body, otherwise)


class _Pipeline:
    """Reads the words of one action."""

    def __init__(self, words: list[Word]) -> None:
        self._words = words
        self._at = 0

    def statement(self, *, most: int) -> tuple[tuple[list[str], str] | None, Value]:
        """``$a, $b := pipeline``: the variables with the sign, if there are any, and the rest."""
        variables: list[str] = []
        while self._peek("variable") and len(variables) < most:
            following = self._words[self._at + 1 :]
            if not following or following[0].text not in {":=", "=", ","}:
                break
            variables.append(self._take().text)
            sign = self._take().text
            if sign != ",":
                value = self._pipeline()
                self._require_end()
                return (variables, sign), value
        if variables:
            raise TemplateError(
                f"{' '.join(variables)}: := is missing, or there are too many variables"
            )
        value = self._pipeline()
        self._require_end()
        return None, value

    def _require_end(self) -> None:
        if self._at < len(self._words):
            raise TemplateError(f"unexpected {self._words[self._at].text!r}")

    def _peek(self, kind: str, text: str | None = None) -> bool:
        if self._at >= len(self._words):
            return False
        word = self._words[self._at]
        return word.kind == kind and text in (None, word.text)

    def _take(self) -> Word:
        self._at += 1
        return self._words[self._at - 1]

    def _pipeline(self) -> Value:
        value = self._command(None)
        while self._peek("sign", "|"):
            self._take()
            if self._at == len(self._words):  # Go lets one at the end pass
                break
            value = self._command(value)
        return value

    def _command(self, piped: Value | None) -> Value:
        """A function or method with its arguments, or one value."""
        if self._at >= len(self._words):
            raise TemplateError("missing value for command")
        if self._peek("name") and self._words[self._at].text not in values.CONSTANTS:
            name = self._take().text
            arguments = self._arguments()
            if piped is not None:
                arguments.append(piped)
            return self._fields(values.called(name, arguments))
        if self._peek("name", "nil"):
            raise TemplateError("nil is not a command")
        operand = self._operand()
        arguments = self._arguments()
        if piped is not None:
            arguments.append(piped)
        return operand if not arguments else values.named(operand, arguments)

    def _arguments(self) -> list[Value]:
        arguments: list[Value] = []
        while (
            self._at < len(self._words)
            and not self._peek("sign", "|")
            and not self._peek("sign", ")")
        ):
            arguments.append(self._operand())
        return arguments

    def _operand(self) -> Value:
        if self._at >= len(self._words):
            raise TemplateError("missing value for command")
        word = self._take()
        if word.text == "(":
            inside = self._pipeline()
            if not self._peek("sign", ")"):
                raise TemplateError("unclosed left paren")
            self._take()
            return self._fields(inside)
        value = values.operand(word)
        return self._fields(value) if word.kind in {"field", "variable"} else value

    def _fields(self, value: Value) -> Value:
        """``.b.c`` right after a value."""
        while self._peek("field") and not self._words[self._at].spaced:
            value = values.field(value, self._take().text[1:])
        return value
