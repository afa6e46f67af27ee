"""What the parts of a template do when it is filled: closures that write what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cgagent.cli.templates.functions import is_true
from cgagent.cli.templates.lexing import TemplateError
from cgagent.cli.templates.printing import printed, verbatim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.cli.templates.values import Scope, Value

    Node: TypeAlias = Callable[[Scope, list[str]], None]


class _Leave(Exception):  # noqa: N818 - no error: what `break` and `continue` do
    def __init__(self, *, whole: bool) -> None:
        self.whole = whole


def run(nodes: Iterable[Node], scope: Scope, written: list[str]) -> None:
    """Variables of these nodes end with them."""
    known = len(scope.variables)
    try:
        for node in nodes:
            node(scope, written)
    finally:
        del scope.variables[known:]


def text(text: str) -> Node:
    return lambda _, written: written.append(text)


def shown(value: Value) -> Node:
    return lambda scope, written: written.append(printed(value(scope)))


def assigned(variables: tuple[list[str], str], value: Value) -> Node:
    (name,), sign = variables

    def node(scope: Scope, _: list[str]) -> None:
        if sign == ":=":
            scope.variables.append((name, value(scope)))
        else:
            scope.assign(name, value(scope))

    return node


def leave(*, whole: bool) -> Node:
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
                run(body, scope.within(found) if moves_dot else scope, written)
            else:
                run(otherwise, scope, written)
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
                run(body, scope.within(item), written)
            except _Leave as leave:
                if leave.whole:
                    break
            finally:
                del scope.variables[known:]
        if is_empty:
            run(otherwise, scope, written)

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


CONTROLS: Final = {
    "if": _choice(moves_dot=False),
    "with": _choice(moves_dot=True),
    "range": _range,
}
