"""Errors as HTTP answers: ``{"kind": ..., "message": ...}`` with the status of the kind."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cgagent.api.answers import Json
from cgagent.errors import (
    HTTP_STATUS,
    CgagentError,
    InternalError,
    InvalidInputError,
    NotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI, Request
    from starlette.routing import BaseRoute

log = logging.getLogger(__name__)


class ErrorAnswer(BaseModel):
    """`kind` is one of `cgagent.errors`, `message` one line for people."""

    kind: str
    message: str


_FEW: Final = 10
_IN_JSON: Final = {
    "unexpected_keyword_argument": "extra inputs are not permitted",
    "dataclass_type": "input should be an object",
    "missing_argument": "field required",
}
"""These texts replace pydantic's, which speak of Python, for clients that send JSON."""
_MORE: Final = {413: "the body is larger than 4 MiB"}
DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in sorted(
        {
            **{
                status: ", ".join(kind for kind, found in HTTP_STATUS.items() if found == status)
                for status in HTTP_STATUS.values()
            },
            **_MORE,
        }.items()
    )
}
"""Every status that a failed request may be answered with, for the OpenAPI document."""


def body_of(error: CgagentError) -> dict[str, str]:
    return {"kind": error.kind, "message": error.message}


def _answer(error: CgagentError) -> Json:
    return Json(body_of(error), HTTP_STATUS[error.kind])


async def _known(_request: Request, error: Exception) -> Json:
    assert isinstance(error, CgagentError)  # noqa: S101 - registered for this type
    return _answer(error)


async def _invalid(_request: Request, error: Exception) -> Json:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    found = [_explain(e) for e in error.errors()]
    if len(found) > _FEW:
        found[_FEW:] = [f"and {len(found) - _FEW} more"]
    return _answer(InvalidInputError("; ".join(found)))


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"][1:]) or "body"
    text = _IN_JSON.get(error["type"]) or str(error["msg"]).lower().replace("tuple", "list")
    return f"{where}: {text}"


async def _http(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    named = _named_with_slash(request) if error.status_code in {404, 405} else None
    if named is not None:
        return _answer(NotFoundError(named))
    kind = "not_found" if error.status_code == 404 else "invalid_input"  # noqa: PLR2004
    message = f"{request.method} {request.url.path}: {_detail(error)}; see /docs"
    return Json({"kind": kind, "message": message}, error.status_code, error.headers)


def _named_with_slash(request: Request) -> str | None:
    """No thing has a slash in its name; whoever asks for one is told that, not about routes."""
    path = request.url.path
    found = []
    for route in request.app.state.described:
        template = str(getattr(route, "path", ""))
        methods = getattr(route, "methods", None) or set()
        if template.count("{") != 1 or ":path}" in template or request.method not in methods:
            continue
        before, _, rest = template.partition("{")
        after = rest.partition("}")[2]
        name = path.removeprefix(before).removesuffix(after)
        if "/" in name and path == f"{before}{name}{after}":
            found.append((name, before.strip("/").rpartition("/")[2].removesuffix("s")))
    name, what = min(found, key=lambda one: len(one[0]), default=("", ""))
    return f"{what} {name!r} does not exist" if name else None


async def _defect(request: Request, error: Exception) -> Json:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(InternalError(f"{type(error).__name__}: {error}; the agent's log has more"))


def install(app: FastAPI, described: Sequence[BaseRoute] = ()) -> None:
    """`described`: the routes of things that have names."""
    app.state.described = described
    app.add_exception_handler(CgagentError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _defect)


def _detail(error: HTTPException) -> str:
    """Ours as it is; starlette's own, which is the status' name, in lower case."""
    text = str(error.detail)
    return text.lower() if text == HTTPStatus(error.status_code).phrase else text
