"""Lists in pages: ``limit`` items, and a header ``Link`` with the path of the next page.

A cursor is the place of the last item in the list's order, so what comes or goes meanwhile moves
no other: nothing that was there all the time is told twice or left out.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Depends, Query, Request, Response

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST: Final = 1000
Item = TypeVar("Item")


class Page:
    """The part of a list that a request asks for: so many items, and after which."""

    def __init__(
        self,
        request: Request,
        response: Response,
        limit: int | None = None,
        after: str = "",
    ) -> None:
        self._request = request
        self._response = response
        self.limit = limit
        self.after = _decoded(after) if after else None

    def of(
        self, items: Iterable[Item], key: Callable[[Item], Any], *, descending: bool = False
    ) -> list[Item]:
        """The part of `items` that was asked for; all, as they are, if no part was.

        `key` is JSON that orders them, a list or a text, and no two have the same.

        Raises:
            InvalidInputError: the cursor is none of this list's.
        """
        if self.limit is None and self.after is None:
            return list(items)
        found = sorted(items, key=key, reverse=descending)
        if self.after is not None:
            found = [one for one in found if self._is_later(key(one), descending=descending)]
        if self.limit is not None and len(found) > self.limit:
            found = found[: self.limit]
            self.link(key(found[-1]))
        return found

    def _is_later(self, key: Any, *, descending: bool) -> bool:
        try:
            return bool(key < self.after if descending else key > self.after)
        except TypeError:
            raise _no_cursor() from None

    def link(self, last: Any) -> None:
        """There is more after `last`, a key."""
        self._response.headers["Link"] = self.link_header(last)

    def link_header(self, last: Any) -> str:
        asked = [(k, v) for k, v in self._request.query_params.multi_items() if k != "after"]
        following = urlencode([*asked, ("after", _encoded(last))])
        return f'<{quote(self._request.scope["path"])}?{following}>; rel="next"'


async def _page(
    request: Request,
    response: Response,
    limit: Annotated[
        int | None,
        Query(ge=1, le=_MOST, description="So many at most; else all of them."),
    ] = None,
    after: Annotated[
        str, Query(description="The cursor of a header Link; what comes after it.")
    ] = "",
) -> Page:
    """A coroutine: a dependency that is none is called in a thread, for 1 ms of each list."""
    return Page(request, response, limit, after)


Paged = Annotated[Page, Depends(_page)]
"""A dependency of a list's route."""


def _encoded(key: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> Any:
    """Raises InvalidInputError."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise _no_cursor() from None
    if not isinstance(found, list | str | int) or isinstance(found, bool):
        raise _no_cursor()
    return found


def _no_cursor() -> InvalidInputError:
    return InvalidInputError("after: this is no cursor of this list; take one of a header Link")
