"""One request as docker's routes see it: path, query and body, read by docker's rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs

from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from cgagent.api import bodies
from cgagent.api.docker import errors
from cgagent.api.docker.filters import Filters
from cgagent.api.hijack import Hijack
from cgagent.errors import InvalidInputError, UnavailableError
from cgagent.moments import moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from cgagent.api.docker.schemas import Body
    from cgagent.api.docker.versions import Version
    from cgagent.api.hijack import Take
    from cgagent.engine.engine import Engine

    Model = TypeVar("Model", bound=Body)

_MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_FALSE: Final = frozenset({"", "0", "no", "false", "none"})
_INT64: Final = 2**63


@dataclass(frozen=True)
class Call:
    engine: Engine
    request: Request
    version: Version
    names: Mapping[str, str] = field(default_factory=dict)
    """Parts of the path, by what the route calls them."""

    @cached_property
    def _query(self) -> dict[str, list[str]]:
        text = self.request.scope["query_string"].decode("latin-1")
        try:
            found = parse_qs(text, keep_blank_values=True, max_num_fields=1000)
        except ValueError as e:
            raise InvalidInputError(f"query: {e}") from None
        if any("\0" in value for values in found.values() for value in values):
            raise InvalidInputError("the request's query has a NUL in it")
        return found

    def texts(self, name: str) -> list[str]:
        return self._query.get(name, [])

    def text(self, name: str, default: str = "") -> str:
        return self._query.get(name, [default])[0]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Docker's rule: whatever is not empty, 0, no, false or none is true."""
        found = self._query.get(name)
        return default if found is None else found[0].strip().lower() not in _FALSE

    def number(self, name: str) -> int | None:
        """Raises InvalidInputError: it is none."""
        text = self.text(name)
        if not text:
            return None
        try:
            value = int(text)
        except ValueError:
            value = _INT64
        if not -_INT64 < value < _INT64:
            raise InvalidInputError(f"{name} {text[:40]!r} is not a number")
        return value

    def moment(self, name: str) -> int | None:
        """Unix nanoseconds; None where it was left out or is 0. Raises InvalidInputError."""
        text = self.text(name)
        return moment(text, name) if text not in {"", "0"} else None

    def filters(self, *known: str) -> Filters:
        """Raises InvalidInputError: a filter that is not `known`."""
        return Filters.parse(self.text("filters"), known)

    def header(self, name: str) -> str | None:
        value: str | None = self.request.headers.get(name)
        return value

    async def raw_body(self) -> bytes:
        """Raises InvalidInputError: it is too large. UnavailableError: the client has gone."""
        found = b""
        try:
            async for chunk in self.request.stream():
                found += chunk
                if len(found) > _MAX_BODY_BYTES:
                    raise InvalidInputError("the body is larger than 4 MiB")
        except ClientDisconnect:
            raise UnavailableError("the client has hung up") from None
        return found

    async def body(self, model: type[Model]) -> Model:
        """Raises InvalidInputError: it is no such thing."""
        raw = await self.raw_body()
        try:
            value: Any = bodies.parse(raw) if raw.strip() else {}
            return model.model_validate(value)
        except bodies.RefusedError as e:
            raise InvalidInputError(f"invalid JSON: {e}") from None
        except ValidationError as e:
            first = e.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidInputError(f"invalid JSON: {where}: {first['msg'].lower()}") from None

    def hijack(self, handler: Callable[[Take], Awaitable[None]]) -> Hijack:
        return Hijack(handler, errors.answer)
