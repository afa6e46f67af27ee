"""Errors as HTTP answers: problems (RFC 9457), and docker's ``{"message": ...}`` on its paths."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cgagent.api.answers import Json
from cgagent.api.paths import is_dockers
from cgagent.errors import (
    HTTP_STATUS,
    CgagentError,
    InternalError,
    InvalidInputError,
    NotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request
    from starlette.routing import BaseRoute

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong, as ``application/problem+json`` (RFC 9457).

    `detail` is the whole as one line for people: the `cause`, and after a semicolon the
    `next_step`. `kind` is one of `cgagent.errors`; `type` and `title` are made of it. `object` has
    the kind and the name of what it is about, where the line begins with one: ``container web``.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    """The path that was asked for; null in a stream."""
    kind: str
    object: str | None
    cause: str
    next_step: str | None


class ProblemAnswer(Json):
    media_type = "application/problem+json"


_FEW: Final = 10
_IN_JSON: Final = {
    "unexpected_keyword_argument": "extra inputs are not permitted",
    "dataclass_type": "input should be an object",
    "missing_argument": "field required",
}
"""These texts replace pydantic's, which speak of Python, for clients that send JSON."""
_MORE: Final = {413: "the body is larger than 4 MiB"}
DOCUMENTED: Final = {
    **{
        status: ", ".join(kind for kind, found in HTTP_STATUS.items() if found == status)
        for status in HTTP_STATUS.values()
    },
    **_MORE,
}
"""Every status that a failed request may be answered with, and what it means."""


def problem(
    error: CgagentError, path: str | None = None, status: int | None = None
) -> dict[str, Any]:
    """A `Problem`. `path` is what was asked for; `status` another one than the kind's."""
    return {
        "type": f"urn:cgagent:problem:{error.kind}",
        "title": error.kind.replace("_", " "),
        "status": status or HTTP_STATUS[error.kind],
        "detail": error.message,
        "instance": None if path is None else quote(path),
        "kind": error.kind,
        "object": error.object or None,
        "cause": error.cause,
        "next_step": error.next_step or None,
    }


def answer(
    error: CgagentError,
    path: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Json:
    """In the form of the API that `path` belongs to."""
    status = status or HTTP_STATUS[error.kind]
    if is_dockers(path):
        return Json({"message": error.message}, status, headers)
    return ProblemAnswer(problem(error, path, status), status, headers)


async def _known(request: Request, error: Exception) -> Json:
    assert isinstance(error, CgagentError)  # noqa: S101 - registered for this type
    return answer(error, request.scope["path"])


async def _invalid(request: Request, error: Exception) -> Json:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    found = [_explain(e) for e in error.errors()]
    if len(found) > _FEW:
        found[_FEW:] = [f"and {len(found) - _FEW} more"]
    return answer(InvalidInputError(", ".join(found)), request.scope["path"])


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"][1:]) or "body"
    text = _IN_JSON.get(error["type"]) or str(error["msg"]).lower().replace("tuple", "list")
    return f"{where}: {text}"


async def _http(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    named = _named_with_slash(request) if error.status_code in {404, 405} else None
    if named is not None:
        return answer(NotFoundError(named), request.scope["path"])
    cls = NotFoundError if error.status_code == 404 else InvalidInputError  # noqa: PLR2004
    message = f"{request.method} {request.url.path}: {_detail(error)}; see /docs"
    return answer(cls(message), request.scope["path"], error.status_code, error.headers)


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
    told = InternalError(f"{type(error).__name__}: {error}; the agent's log has more")
    return answer(told, request.scope["path"])


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
