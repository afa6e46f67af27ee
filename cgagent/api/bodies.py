"""Requests are checked once, where they come in: text that is text, numbers that are finite.

What is behind the door may rely on it: no string has a NUL or half of a surrogate pair, no number
is endless, nothing is nested deeply or has more members than `_MEMBERS`.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.routing import APIRoute

from cgagent.api.answers import Json
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response

_DEPTH: Final = 32
_MEMBERS: Final = 20_000
"""The most members that a list or an object may have; the longest command lines have fewer."""
_VALUES: Final = 60_000
_DIGITS: Final = 30
_SHOWN: Final = 40
_NUL_IN_URL: Final = b"%00"


class RefusedError(ValueError):
    """Why a body is none; the message says what bound or rule it breaks."""


def parse(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        RefusedError: it is no JSON, or none that is taken here.
    """
    if _values(body) > _VALUES and _values(_without_strings(body)) > _VALUES:
        raise RefusedError(f"body: more than {_VALUES} values")
    try:
        value = json.loads(
            body.decode(), parse_constant=_constant, parse_int=_integer, parse_float=_number
        )
    except UnicodeDecodeError as e:
        raise RefusedError(f"body: not utf-8 at byte {e.start}") from None
    except json.JSONDecodeError as e:
        raise RefusedError(f"{e.pos}: json decode error: {e.msg.lower()}") from None
    except RecursionError:
        raise RefusedError(f"body: nested more than {_DEPTH} deep") from None
    _check(value)
    return value


def _values(body: bytes) -> int:
    """No fewer than it has: commas and brackets of strings are counted, too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _without_strings(body: bytes) -> bytes:
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    return b"".join(plain.split(b'"')[::2])


def _constant(name: str) -> Any:
    raise RefusedError(f"body: {name} is not a number that can be used")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise RefusedError(f"body: a number of {len(digits)} digits; {_DIGITS} are taken at most")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise RefusedError(f"body: {digits[:_SHOWN]} is too large a number")
    return value


def _check(value: Any) -> None:
    level = [value]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _check_text(one)
            elif isinstance(one, dict | list):
                if len(one) > _MEMBERS:
                    raise RefusedError(f"body: more than {_MEMBERS} members in one list or object")
                below.extend(one)
                below.extend(one.values() if isinstance(one, dict) else ())
        level = below
        if not level:
            return
    raise RefusedError(f"body: nested more than {_DEPTH} deep")


def _check_text(text: str) -> None:
    shown = ascii(text[:_SHOWN])
    if "\0" in text:
        raise RefusedError(f"body: {shown} has a NUL in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError(f"body: {shown} has half of a surrogate pair in it") from None


class _UnfitError(HTTPException):
    """The only kind of error that FastAPI lets through from a body's reading as it is."""


class _Checked(Request):
    async def json(self) -> Any:
        try:
            return parse(await self.body())
        except RefusedError as e:
            raise _UnfitError(400, str(e)) from None


class CheckedRoute(APIRoute):
    """A route whose requests are checked."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            if _NUL_IN_URL in request.scope["raw_path"] + request.scope["query_string"]:
                raise InvalidInputError("the request's path or query has a NUL in it")
            try:
                return await handle(_Checked(request.scope, request.receive))
            except _UnfitError as e:
                raise InvalidInputError(e.detail) from None

        return checked


class CheckedRouter(APIRouter):
    """The routes of one subject, whose requests are checked and whose answers are `Json`."""

    def __init__(self, prefix: str = "", *, tag: str) -> None:
        super().__init__(
            prefix=prefix, tags=[tag], route_class=CheckedRoute, default_response_class=Json
        )
