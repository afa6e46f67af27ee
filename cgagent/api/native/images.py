"""``/v1/images``: what images there are, and all that is done with them.

Long work streams its progress as JSON lines.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from cgagent.api.bodies import CheckedRouter
from cgagent.api.errors import problem
from cgagent.api.native.lines import Line, Lines
from cgagent.api.native.login import Login
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import Strict, image_view
from cgagent.api.progress import Done, Failed, told
from cgagent.api.transfers import NO_LIMIT, downloaded, uploaded
from cgagent.engine.filters import PruneFilters, by_name
from cgagent.engine.imageselection import selected
from cgagent.engine.values import Authorship, Form, parse_reference
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Progress


_MAX_JSON_BYTES: Final = 1 << 16


class PullBody(Strict):
    name: str
    platform: str = ""
    """``OS/ARCH[/VARIANT]``; empty: this machine's."""
    all_tags: bool = False


class LoadBody(Strict):
    path: str
    """Of an archive on the agent's own disk, absolute."""


class TagBody(Strict):
    source: str
    name: str


Filters = Annotated[list[str] | None, Query(alias="filter")]


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/images", tag="images")

    @router.get("")
    async def list_images(page: Paged, filters: Filters = None) -> list[dict[str, Any]]:
        """`filter` is ``NAME=VALUE`` with docker's names; a reference leaves the names like it."""
        found = selected(engine.images.all(), by_name(filters or ()))
        return [image_view(i) for i in page.of(found, lambda image: image.id)]

    @router.post("/pull", response_model=None)
    async def pull_image(body: PullBody, x_registry_auth: Login = None) -> StreamingResponse:
        """Lines of ``{"progress": ...}``; the last has ``image`` or ``error`` instead.

        With ``all_tags`` it has ``images``. ``reference`` is the name that was pulled, in full.
        """

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            if body.all_tags:
                found = await engine.registries.pull_all(
                    body.name, x_registry_auth, body.platform, progress
                )
                name = parse_reference(body.name).name
                return {"images": [image_view(image) for image in found], "reference": name}
            pulled = await engine.images.pull(
                body.name, progress, login=x_registry_auth, platform=body.platform
            )
            return {"image": image_view(pulled), "reference": str(parse_reference(body.name))}

        return streamed(work)

    _add_archives(router, engine)
    _add_changes(router, engine)

    @router.get("/{name:path}")
    async def inspect_image(name: str) -> dict[str, Any]:
        return _detail(engine, name)

    @router.delete("/{name:path}")
    async def remove_image(name: str, *, force: bool = False) -> dict[str, Any]:
        """Take a name off, and delete the image when that was its last one."""
        return {"lines": (await engine.images.remove(name, force=force)).lines}

    return router


def _detail(engine: Engine, name: str) -> dict[str, Any]:
    image = engine.images.resolve(name)
    return {**image_view(image), "document": json.loads(engine.images.config_of(image))}


def _add_archives(router: APIRouter, engine: Engine) -> None:
    @router.post("/load", response_model=None, max_body_size=NO_LIMIT)
    async def load_images(request: Request) -> StreamingResponse:
        """Lines as for a pull, with ``images`` at the end.

        The body is the archive, or a JSON object with the ``path`` of one on the agent's disk.
        """
        if request.headers.get("content-type", "").startswith("application/json"):
            body = _load_body(await _small_json(request))
            return streamed(partial(_load, engine, body.path, None))
        got = await uploaded(request, engine)
        return streamed(partial(_load, engine, got.path, "from the client"), end=got.close)

    @router.post("/import", response_model=None, max_body_size=NO_LIMIT)
    async def import_image(
        request: Request,
        name: str | None = None,
        message: str = "",
        platform: str | None = None,
        change: Annotated[list[str] | None, Query()] = None,
    ) -> StreamingResponse:
        """Lines as for a pull; the body is a tar, the tree of the new image."""
        about = Authorship(name=name or None, message=message, changes=tuple(change or ()))
        got = await uploaded(request, engine)

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            image = await engine.images.import_(got.path, about, progress, platform=platform)
            return {"image": image_view(image)}

        return streamed(work, end=got.close)

    @router.get("/save", response_model=None)
    async def save_images(
        names: Annotated[list[str] | None, Query()] = None, form: Form = "docker"
    ) -> StreamingResponse | dict[str, Any]:
        """An archive of images. Without ``names`` it describes the image that is called save."""
        if not names:
            return _detail(engine, "save")
        return await downloaded(partial(engine.images.save, names, form))


async def _load(
    engine: Engine, path: str, shown: str | None, progress: Callable[[Progress], None]
) -> dict[str, Any]:
    loaded = await engine.images.load(path, progress, shown=shown)
    return {"images": [image_view(i) for i in loaded]}


async def _small_json(request: Request) -> Any:
    """The body, which is bounded here: an archive in its place would not be."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_JSON_BYTES:
            raise InvalidInputError(f"the request has more than {_MAX_JSON_BYTES} bytes of JSON")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise InvalidInputError(f"the request is not JSON: {e}") from None


def _load_body(value: Any) -> LoadBody:
    try:
        return LoadBody.model_validate(value)
    except ValidationError as e:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in e.errors()]
        raise RequestValidationError(errors) from None


def _add_changes(router: APIRouter, engine: Engine) -> None:
    @router.post("/tag", status_code=201)
    async def tag_image(body: TagBody) -> dict[str, Any]:
        """Give an image one more name."""
        return image_view(await engine.images.tag(body.source, body.name))

    @router.post("/prune")
    async def prune_images(*, all: bool = False, filters: Filters = None) -> dict[str, Any]:  # noqa: A002
        """Delete images that no container uses: those without a tag; with `all`, every one."""
        parsed = PruneFilters.parse(filters or ())
        removed = await engine.images.prune(every=all, filters=parsed)
        return {"lines": removed.lines, "freed_bytes": removed.freed_bytes}


def streamed(
    work: Callable[[Callable[[Progress], None]], Awaitable[dict[str, Any]]],
    end: Callable[[], None] | None = None,
) -> StreamingResponse:
    """Run the work and stream what it tells; a client that goes away cancels it.

    `end` is called when the work is over, or has not even begun.
    """

    async def lines() -> AsyncGenerator[list[Line]]:
        async with aclosing(told(work)) as messages:
            async for message in messages:
                yield [Line(json.dumps(_line(message)).encode())]

    return Lines(lines(), end)


def _line(message: Progress | Done | Failed) -> dict[str, Any]:
    if isinstance(message, Done):
        found: dict[str, Any] = message.result
        return found
    if isinstance(message, Failed):
        return {"error": problem(message.error)}
    return {"progress": asdict(message)}
