"""What the words of a template's pipeline stand for: closures that take a scope."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cgagent.cli.templates.functions import FUNCTIONS, is_true
from cgagent.cli.templates.lexing import TemplateError, Word, unquoted
from cgagent.cli.templates.printing import verbatim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Value: TypeAlias = Callable[["Scope"], Any]

CONSTANTS: Final = {"true": True, "false": False, "nil": None}
_INTEGERS: Final = range(-(2**63), 2**64)
_SHOWN: Final = 40


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


def operand(word: Word) -> Value:
    """What one word stands for."""
    match word.kind:
        case "field":
            return field(_dot, word.text[1:])
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
            known = word.text in CONSTANTS
            return _constant(CONSTANTS[word.text]) if known else called(word.text, [])
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


def field(of: Value, name: str) -> Value:
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


def named(of: Value, arguments: list[Value]) -> Value:
    """``.Label "name"``: docker's one method with an argument, a look into a map."""

    def value(scope: Scope) -> Any:
        thing = of(scope)
        keys = [argument(scope) for argument in arguments]
        if not isinstance(thing, dict) or len(keys) != 1 or not isinstance(keys[0], str):
            raise TemplateError(f"{verbatim(thing)} is no function and takes no argument")
        return thing.get(keys[0], "")

    return value


def called(name: str, arguments: list[Value]) -> Value:
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
