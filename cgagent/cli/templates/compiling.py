"""Closures made of a template's words."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cgagent.cli.templates.functions import FUNCTIONS, is_true
from cgagent.cli.templates.lexing import TemplateError, Word, pieces, unquoted
from cgagent.cli.templates.printing import printed, verbatim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Value: TypeAlias = Callable[["Scope"], Any]
    Node: TypeAlias = Callable[["Scope", list[str]], None]

_CONSTANTS: Final = {"true": True, "false": False, "nil": None}
_INTEGERS: Final = range(-(2**63), 2**64)
_SHOWN: Final = 40
_ENDS: Final = frozenset({"end", "else"})
_OTHERS: Final = frozenset({"define", "block", "template"})


class Scope:
    """What a name means at some place: ``.``, variables, functions."""

    __slots__ = ("dot", "functions", "variables")

    def __init__(
        self,
        dot: Any,
        variables: list[tuple[str, Any]],
        functions: Mapping[str, Callable[..., Any]],
    ) -> None:
        self.dot = dot
        self.variables = variables
        """The latest last; shared by the scopes inside, which cut theirs off again."""
        self.functions = functions

    def within(self, dot: Any) -> Scope:
        return Scope(dot, self.variables, self.functions)

    def lookup(self, name: str) -> Any:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise TemplateError(f"undefined variable {name!r}")

    def assign(self, name: str, value: Any) -> None:
        for i in range(len(self.variables) - 1, -1, -1):
            if self.variables[i][0] == name:
                self.variables[i] = (name, value)
                return
        raise TemplateError(f"undefined variable {name!r}")


class _Leave(Exception):  # noqa: N818 - no error: what `break` and `continue` do
    def __init__(self, *, whole: bool) -> None:
        self.whole = whole


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
        scope = Scope(data, [("$", data)], functions)
        with _within_reason():
            _run(self._nodes, scope, written)
        return "".join(written)


@contextmanager
def _within_reason() -> Iterator[None]:
    """Raises TemplateError: the template is nested too deeply for this interpreter."""
    try:
        yield
    except RecursionError:
        raise TemplateError("it is nested too deeply") from None


def _run(nodes: Iterable[Node], scope: Scope, written: list[str]) -> None:
    """Variables of these nodes end with them."""
    known = len(scope.variables)
    try:
        for node in nodes:
            node(scope, written)
    finally:
        del scope.variables[known:]


class _Compiler:
    """Reads pieces one after the other; `_depth` counts the ranges that it is in."""

    def __init__(self, found: Iterable[str | list[Word]]) -> None:
        self._pieces = iter(found)
        self._depth = 0

    def template(self) -> list[Node]:
        nodes, end = self._nodes()
        if end is not None:
            raise TemplateError(f"unexpected {{{{{end[0].text}}}}}")
        return nodes

    def _nodes(self) -> tuple[list[Node], list[Word] | None]:
        """Up to an ``end`` or ``else``, whose words come with them."""
        nodes: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                nodes.append(_text(piece))
                continue
            if not piece:
                raise TemplateError("missing value for command: {{}}")
            name = piece[0].text if piece[0].kind == "name" else ""
            if name in _ENDS:
                return nodes, piece
            nodes.append(self._action(name, piece))
        return nodes, None

    def _action(self, name: str, words: list[Word]) -> Node:
        if name in _OTHERS:
            raise TemplateError(f"{{{{{name}}}}} is not known here: a format is one template")
        if name in {"break", "continue"}:
            if not self._depth:
                raise TemplateError(f"{{{{{name}}}}} outside of a range")
            return _leave(whole=name == "break")
        if name in {"if", "with", "range"}:
            return self._control(name, words[1:])
        variables, value = _Pipeline(words).statement(most=1)
        return _shown(value) if not variables else _set(variables, value)

    def _control(self, name: str, words: list[Word]) -> Node:
        variables, value = _Pipeline(words).statement(most=2 if name == "range" else 1)
        self._depth += name == "range"
        body, end = self._nodes()
        self._depth -= name == "range"
        otherwise: list[Node] = []
        if end is not None and end[0].text == "else":
            if len(end) > 1:  # {{else if x}}: the rest, up to the same end
                if end[1].text not in _CONTROLS:
                    raise TemplateError(f"unexpected {end[1].text!r} in {{{{else}}}}")
                otherwise = [self._control(end[1].text, end[2:])]
                return _CONTROLS[name](variables, value, body, otherwise)
            otherwise, end = self._nodes()
        if end is None or end[0].text != "end" or len(end) > 1:
            raise TemplateError(f"{{{{{name}}}}} has no {{{{end}}}}")
        return _CONTROLS[name](variables, value, body, otherwise)


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
        if self._peek("name") and self._words[self._at].text not in _CONSTANTS:
            name = self._take().text
            arguments = self._arguments()
            if piped is not None:
                arguments.append(piped)
            return self._fields(_called(name, arguments))
        if self._peek("name", "nil"):
            raise TemplateError("nil is not a command")
        operand = self._operand()
        arguments = self._arguments()
        if piped is not None:
            arguments.append(piped)
        return operand if not arguments else _named(operand, arguments)

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
        value = _operand(word)
        return self._fields(value) if word.kind in {"field", "variable"} else value

    def _fields(self, value: Value) -> Value:
        """``.b.c`` right after a value."""
        while self._peek("field") and not self._words[self._at].spaced:
            value = _field(value, self._take().text[1:])
        return value


def _operand(word: Word) -> Value:
    """What one word stands for."""
    match word.kind:
        case "field":
            return _field(_dot, word.text[1:])
        case "dot":
            return _dot
        case "variable":
            return _variable(word.text)
        case "string":
            return _constant(unquoted(word.text))
        case "char":
            return _constant(_character(word.text))
        case "number":
            return _constant(_number(word.text))
        case "name":
            known = word.text in _CONSTANTS
            return _constant(_CONSTANTS[word.text]) if known else _called(word.text, [])
        case _:
            raise TemplateError(f"unexpected {word.text!r}")


def _character(text: str) -> int:
    letter = unquoted(text)
    if len(letter) != 1:
        raise TemplateError(f"{text} must be one character")
    return ord(letter)


def _number(text: str) -> int | float:
    """Of 64 bits, as Go has them."""
    number = _parsed(text)
    if number not in _INTEGERS if isinstance(number, int) else not math.isfinite(number):
        raise TemplateError(f"number out of range: {text[:_SHOWN]}")
    return number


def _parsed(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        try:
            return int(text, 8) if text.isdecimal() and text[0] == "0" else float(text)
        except ValueError:
            raise TemplateError(f"bad number syntax: {text!r}") from None


def _dot(scope: Scope) -> Any:
    return scope.dot


def _constant(value: Any) -> Value:
    return lambda _: value


def _variable(name: str) -> Value:
    return lambda scope: scope.lookup(name)


def _field(of: Value, name: str) -> Value:
    def value(scope: Scope) -> Any:
        thing = of(scope)
        if isinstance(thing, dict) and name in thing:
            return thing[name]
        if isinstance(thing, dict) and _is_map(thing, scope):
            return None
        raise TemplateError(f"there is no field .{name}")

    return value


def _is_map(thing: dict[str, Any], scope: Scope) -> bool:
    """Labels and attributes, whose keys are not known: there docker prints ``<no value>``."""
    return thing is not scope.lookup("$") and all(isinstance(v, str) for v in thing.values())


def _named(of: Value, arguments: list[Value]) -> Value:
    """``.Label "name"``: docker's one method with an argument, a look into a map."""

    def value(scope: Scope) -> Any:
        thing = of(scope)
        keys = [argument(scope) for argument in arguments]
        if not isinstance(thing, dict) or len(keys) != 1 or not isinstance(keys[0], str):
            raise TemplateError(f"{verbatim(thing)} is no function and takes no argument")
        return thing.get(keys[0], "")

    return value


def _called(name: str, arguments: list[Value]) -> Value:
    if name in {"and", "or"}:
        if not arguments:
            raise TemplateError(f"wrong number of args for {name}")
        return _shortcut(arguments, until=name == "or")
    if name not in FUNCTIONS:
        raise TemplateError(f"function {name!r} not defined")

    def value(scope: Scope) -> Any:
        try:
            return scope.functions[name](*(argument(scope) for argument in arguments))
        except (TypeError, ValueError, AttributeError, OverflowError) as e:
            raise TemplateError(f"error calling {name}: {e}") from None

    return value


def _shortcut(arguments: list[Value], *, until: bool) -> Value:
    def value(scope: Scope) -> Any:
        found: Any = None
        for argument in arguments:
            found = argument(scope)
            if is_true(found) is until:
                break
        return found

    return value


def _text(text: str) -> Node:
    return lambda _, written: written.append(text)


def _shown(value: Value) -> Node:
    return lambda scope, written: written.append(printed(value(scope)))


def _set(variables: tuple[list[str], str], value: Value) -> Node:
    (name,), sign = variables

    def node(scope: Scope, _: list[str]) -> None:
        if sign == ":=":
            scope.variables.append((name, value(scope)))
        else:
            scope.assign(name, value(scope))

    return node


def _leave(*, whole: bool) -> Node:
    def node(_: Scope, __: list[str]) -> None:
        raise _Leave(whole=whole)

    return node


def _bound(scope: Scope, variables: tuple[list[str], str] | None, *values: Any) -> None:
    """Give the last of them to one variable, each to several."""
    if variables is None:
        return
    names, sign = variables
    for name, value in zip(names, values[-len(names) :], strict=True):
        if sign == ":=":
            scope.variables.append((name, value))
        else:
            scope.assign(name, value)


def _choice(*, moves_dot: bool) -> Callable[..., Node]:
    def made(
        variables: tuple[list[str], str] | None,
        value: Value,
        body: list[Node],
        otherwise: list[Node],
    ) -> Node:
        def node(scope: Scope, written: list[str]) -> None:
            known = len(scope.variables)
            found = value(scope)
            _bound(scope, variables, found)
            if is_true(found):
                _run(body, scope.within(found) if moves_dot else scope, written)
            else:
                _run(otherwise, scope, written)
            del scope.variables[known:]

        return node

    return made


def _range(
    variables: tuple[list[str], str] | None, value: Value, body: list[Node], otherwise: list[Node]
) -> Node:
    def node(scope: Scope, written: list[str]) -> None:
        found = value(scope)
        known = len(scope.variables)
        is_empty = True
        for key, item in _pairs(found):
            is_empty = False
            _bound(scope, variables, key, item)
            try:
                _run(body, scope.within(item), written)
            except _Leave as leave:
                if leave.whole:
                    break
            finally:
                del scope.variables[known:]
        if is_empty:
            _run(otherwise, scope, written)

    return node


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    match value:
        case dict():
            return sorted(value.items())
        case list():
            return enumerate(value)
        case None:
            return ()
        case int() if not isinstance(value, bool):
            return ((i, i) for i in range(value))
        case _:
            raise TemplateError(f"range can't iterate over {verbatim(value)}")


_CONTROLS: Final = {
    "if": _choice(moves_dot=False),
    "with": _choice(moves_dot=True),
    "range": _range,
}
