"""``ETag``, ``If-None-Match``, ``If-Match``: whether a thing is still as a client has seen it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from cgagent.api.answers import Json
from cgagent.errors import ChangedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

_DIGITS: Final = 32


def tag_of(view: Any) -> str:
    """Another one for whatever else the view says."""
    text = json.dumps(view, sort_keys=True).encode()
    return f'"{hashlib.sha256(text).hexdigest()[:_DIGITS]}"'


def tagged(request: Request, view: dict[str, Any], **beside: Any) -> Response:
    """The view with its tag, or 304 to who has it; `beside` is told, and not part of the tag."""
    headers = {"ETag": tag_of(view)}
    if request.method in {"GET", "HEAD"} and _has(request, "if-none-match", headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Json({**view, **beside}, headers=headers)


def condition(request: Request, what: str, view: Callable[[], Any]) -> Callable[[], None]:
    """What raises ChangedError where the request is for another state of `what` than there is.

    It is to be called when nobody else can change it any more.
    """

    def check() -> None:
        if "if-match" not in request.headers or _has(request, "if-match", tag_of(view())):
            return
        raise ChangedError(
            f"{what} is not any more what the request is for (If-Match); look at it again"
        )

    return check


def _has(request: Request, header: str, tag: str) -> bool:
    """A weak tag is as good as a strong one here: ours are all strong."""
    given = [one.strip() for one in ",".join(request.headers.getlist(header)).split(",")]
    return "*" in given or tag in [one.removeprefix("W/") for one in given]
