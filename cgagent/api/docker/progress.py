"""Progress as docker's clients read it: one JSON object after another."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.progress import Done, Failed, Streamed, told

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from cgagent.api.progress import Tell
    from cgagent.engine.values import Progress

    Messages = AsyncGenerator[Progress | Done | Failed]
    Lines = Callable[[Any], Iterable[dict[str, Any]]]
    """The last lines, of what came of the work."""

_PULLING: Final = "Pulling from "


def line(progress: Progress, tag: str = "") -> dict[str, Any]:
    """`tag` is the id of what is told of the image as a whole at the beginning of a pull."""
    found: dict[str, Any] = {"status": progress.status}
    if progress.layer:
        detail = {"current": progress.current_bytes, "total": progress.total_bytes}
        known = {name: value for name, value in detail.items() if value is not None}
        return {**found, "progressDetail": known, "id": progress.layer}
    if progress.status.startswith(_PULLING) and tag:
        found["id"] = tag
    return found


def failure(message: str) -> dict[str, Any]:
    return {"errorDetail": {"message": message}, "error": message}


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\r\n"


async def streamed(
    work: Callable[[Tell], Awaitable[Any]],
    last: Lines,
    *,
    tag: str = "",
    end: Callable[[], None] | None = None,
    refuses: bool = True,
) -> Streamed:
    """The answer begins when there is something to tell: clients may leave when it does.

    A failure before that is the answer's own, or with `refuses` false a line like a later one.

    Raises:
        CgagentError: that failure.
    """
    messages = told(work)
    try:
        held = await _opening(messages)
        if refuses and isinstance(held[-1], Failed):
            raise held[-1].error
    except BaseException:
        await messages.aclose()
        if end is not None:
            end()
        raise

    async def lines() -> AsyncGenerator[bytes]:
        async with aclosing(messages):
            for message in held:
                yield _encoded(message, last, tag)
            async for message in messages:
                yield _encoded(message, last, tag)

    return Streamed(lines(), end, "application/json")


async def _opening(messages: Messages) -> list[Progress | Done | Failed]:
    """What is told up to the first thing that is fetched or sent, or to the end."""
    held: list[Progress | Done | Failed] = []
    async for message in messages:
        held.append(message)
        if isinstance(message, Done | Failed) or _has_begun(message):
            break
    return held


def _has_begun(message: Progress) -> bool:
    return bool(message.layer) or not message.status.startswith(_PULLING)


def _encoded(message: Progress | Done | Failed, last: Lines, tag: str) -> bytes:
    if isinstance(message, Done):
        return b"".join(map(encoded, last(message.result)))
    if isinstance(message, Failed):
        return encoded(failure(message.error.message))
    return encoded(line(message, tag))
