"""``/v1/build``: an image of a Dockerfile and its context; what builds leave to be used again."""

from __future__ import annotations

import base64
import json
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from cgagent.api.bodies import CheckedRouter
from cgagent.api.bodies import parse as parse_json
from cgagent.api.errors import problem
from cgagent.api.native.lines import Line, Lines
from cgagent.api.native.schemas import LimitsBody, Strict, image_view
from cgagent.api.progress import Done, Failed, told
from cgagent.api.transfers import NO_LIMIT
from cgagent.engine.build.commands import StepFailedError
from cgagent.engine.build.outputs import Missed
from cgagent.engine.build.values import (
    StageDone,
    StepBegun,
    StepContainer,
    StepDone,
    StepNote,
    StepOutput,
    StepPull,
)
from cgagent.engine.filters import PruneFilters
from cgagent.engine.options.confinement import Ulimit
from cgagent.engine.receiving import Received, received
from cgagent.engine.values import BuildRequest
from cgagent.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from cgagent.engine.build.values import Tell, Told
    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Built

_MAX_LINE_BYTES: Final = 4 << 20

Filters = Annotated[list[str] | None, Query(alias="filter")]


class UlimitBody(Strict):
    name: str
    soft: int
    hard: int


class BuildBody(Strict):
    """The first line of a build's body."""

    names: list[str] = []
    dockerfile: str = "Dockerfile"
    """Its path in the context."""
    target: str = ""
    arguments: dict[str, str] = {}
    labels: dict[str, str] = {}
    platform: str = ""
    pull: bool = False
    no_cache: bool = False
    cache_from: list[str] = []
    network: str = ""
    extra_hosts: list[str] = []
    shm_size_bytes: Annotated[int, Field(ge=0)] | None = None
    ulimits: list[UlimitBody] = []
    secrets: dict[str, str] = {}
    """Base64, by their ids. They are used for this build and not kept."""
    logins: dict[str, str] = {}
    """By registry, what is otherwise the header ``X-Registry-Auth``."""
    limits: LimitsBody = LimitsBody()
    """Of the whole build."""
    cgroup_parent: str = ""

    def request(self) -> BuildRequest:
        """Raises InvalidInputError."""
        try:
            secrets = {
                name: base64.b64decode(text, validate=True) for name, text in self.secrets.items()
            }
        except ValueError:
            raise InvalidInputError("secrets: one of them is not base64") from None
        return BuildRequest(
            names=tuple(self.names),
            dockerfile=self.dockerfile,
            target=self.target,
            arguments=self.arguments,
            labels=self.labels,
            platform=self.platform,
            pull=self.pull,
            no_cache=self.no_cache,
            cache_from=tuple(self.cache_from),
            network=self.network,
            extra_hosts=tuple(self.extra_hosts),
            shm_size_bytes=self.shm_size_bytes,
            ulimits=tuple(Ulimit(name=u.name, soft=u.soft, hard=u.hard) for u in self.ulimits),
            secrets=secrets,
            limits=self.limits.limits(),
            conveniences=self.limits.conveniences(),
            cgroup_parent=self.cgroup_parent,
            login=self.logins.get,
        )


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/build", tag="images")

    @router.post("", response_model=None, max_body_size=NO_LIMIT)
    async def build_image(request: Request) -> Lines:
        """The body is a line of JSON, ``BuildBody``, and after it the context: a tar.

        The tar may be compressed. Lines of the answer tell of the steps: ``begun``,
        ``container``, ``pull``, ``output``, ``note``, ``done`` with what the step has used. The
        last has ``image`` with ``report`` and ``warnings``, or ``error``.
        """
        body = _Body(request)
        asked = (await body.line()).request()
        got = await body.file(engine)
        return _streamed(engine, asked, got)

    @router.get("/{job_id}/output", response_model=None)
    async def build_output(job_id: int, *, follow: bool = False) -> Lines:
        """Tell what a build has told so far, by the number of its job, in the lines of a build.

        With `follow` also what comes until it has ended. `missed` says how many lines are not kept
        any more. It is there of builds that run, and of the last few that have ended.
        """
        output = engine.builds.outputs.get(job_id)

        async def lines() -> AsyncGenerator[list[Line]]:
            async with aclosing(output.follow(wait=follow)) as told:
                async for some in told:
                    shown = filter(None, map(_line, some))
                    yield [Line(json.dumps(line).encode()) for line in shown]

        return Lines(lines())

    @router.get("/cache")
    async def list_build_cache() -> list[dict[str, Any]]:
        """Cached steps, and the directories of ``RUN --mount=type=cache``."""
        return [asdict(one) for one in await engine.builds.cache.all()]

    @router.post("/prune")
    async def prune_build_cache(
        keep_bytes: Annotated[int, Query(ge=0)] = 0, filters: Filters = None
    ) -> dict[str, Any]:
        """Delete what no build uses now; of what was used last ``keep_bytes`` may stay.

        Filter: ``until=UNIX_SECONDS``, when it was used last.
        """
        parsed = PruneFilters.parse(filters or ())
        until_s = None if parsed.until_ns is None else parsed.until_ns / 1e9
        removed, freed = await engine.builds.cache.prune(until_s=until_s, keep_bytes=keep_bytes)
        return {"removed": removed, "freed_bytes": freed}

    return router


class _Body:
    """A line, and what follows it."""

    def __init__(self, request: Request) -> None:
        self._pieces = aiter(request.stream())
        self._rest = b""

    async def line(self) -> BuildBody:
        found = b""
        while b"\n" not in found:
            piece = await self._more()
            found += piece or b"\n"
            if len(found) > _MAX_LINE_BYTES + len(piece):
                raise InvalidInputError(
                    f"the request begins with no line of JSON of up to {_MAX_LINE_BYTES} bytes"
                )
        line, _, self._rest = found.partition(b"\n")
        try:
            return BuildBody.model_validate(parse_json(line))
        except ValidationError as e:
            errors = [{**error, "loc": ("body", *error["loc"])} for error in e.errors()]
            raise RequestValidationError(errors) from None
        except ValueError as e:
            raise InvalidInputError(f"the request's first line: {e}") from None

    async def file(self, engine: Engine) -> Received:
        return await received(self._others(), engine.images.scratch())

    async def _others(self) -> AsyncIterator[bytes]:
        yield self._rest
        while piece := await self._more():
            yield piece

    async def _more(self) -> bytes:
        from starlette.requests import ClientDisconnect

        try:
            return await anext(self._pieces, b"")
        except ClientDisconnect:
            raise UnavailableError("the client has hung up") from None


def _streamed(engine: Engine, request: BuildRequest, got: Received) -> Lines:
    async def lines() -> AsyncGenerator[list[Line]]:
        async with aclosing(told(partial(_work, engine, request, got.path))) as messages:
            async for message in messages:
                line = _line(message)
                if line is not None:
                    yield [Line(json.dumps(line).encode())]

    return Lines(lines(), got.close)


async def _work(engine: Engine, request: BuildRequest, archive: str, tell: Tell) -> dict[str, Any]:
    built: Built = await engine.builds.build(request, archive, tell)
    return {
        "image": image_view(engine.images.resolve(built.image_id)),
        "report": built.report,
        "warnings": list(built.warnings),
    }


def _line(message: Told | Missed | Done | Failed) -> dict[str, Any] | None:
    if isinstance(message, Missed):
        return {"missed": message.count}
    if isinstance(message, Done):
        found: dict[str, Any] = message.result
        return found
    if isinstance(message, Failed):
        body: dict[str, Any] = dict(problem(message.error))
        if isinstance(message.error, StepFailedError):
            body["exit_code"] = message.error.exit_code
        return {"error": body}
    if isinstance(message, StageDone):
        return None
    return {_KINDS[type(message)]: _shape(message)}


_KINDS: Final[dict[type, str]] = {
    StepBegun: "begun",
    StepContainer: "container",
    StepOutput: "output",
    StepPull: "pull",
    StepNote: "note",
    StepDone: "done",
}


def _shape(message: Any) -> dict[str, Any]:
    """What is told, beside its step's number."""
    found = asdict(message)
    step = found.pop("step")
    if isinstance(message, StepBegun):
        return {
            **{name: step[name] for name in ("number", "total")},
            "stage": step["shown"],
            "instruction": step["text"],
        }
    return {"number": step["number"], **found}
