"""Which handler answers which path: a table of patterns, such as ``/containers/{id}/json``."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.responses import Response

    from cgagent.api.docker.calls import Call

    Handler = Callable[[Call], Awaitable[Response]]

_PART: Final = re.compile(r"{(\w+)(:path)?}")


class Route(NamedTuple):
    method: str
    pattern: str
    """``{name}`` stands for a part without a slash, ``{name:path}`` for any."""
    handler: Handler


class Table:
    """Routes by method and first part of the path; of several that fit the first counts."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]]
        self._routes = defaultdict(list)
        for route in routes:
            first = _first(route.pattern)
            expression = re.compile(_PART.sub(_expression, route.pattern) + "/?")
            self._routes[route.method, first].append((expression, route.handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        for expression, handler in self._routes.get((method, _first(path)), ()):
            match = expression.fullmatch(path)
            if match:
                return handler, match.groupdict()
        return None


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _expression(match: re.Match[str]) -> str:
    return f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})"
