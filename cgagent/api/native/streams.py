"""Streams of ``/v1/containers``: run, attach, exec, the terminal's size, logs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from cgagent.api.hijack import Hijack, require_upgrade
from cgagent.api.native.creation import CreateBody
from cgagent.api.native.lines import EndlessLines, Lines, last_id, wants_events
from cgagent.api.native.logplaces import Place, placed, plain
from cgagent.api.native.numbers import Nanoseconds
from cgagent.api.native.once import once, refuse_key
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import ExecBody, exec_view
from cgagent.engine.sessions.streams import Attachment
from cgagent.engine.values import LogQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.api.hijack import Take
    from cgagent.api.websocket import Upgrade
    from cgagent.engine.containers.container import Container
    from cgagent.engine.engine import Engine
    from cgagent.engine.sessions.streams import Exec


def add(router: APIRouter, engine: Engine) -> None:
    _add_run(router, engine)
    _add_attach(router, engine)
    _add_exec(router, engine)
    _add_logs(router, engine)


def _add_attach(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/attach", status_code=101, response_model=None)
    async def attach_container(
        reference: str,
        request: Request,
        *,
        start: bool = False,
        stdin: bool = True,
        stdout: bool = True,
        stderr: bool = True,
        framed: bool = True,
        detach_keys: str = "",
    ) -> Hijack:
        """Take the connection over: framed output down, raw input up, a status frame at the end.

        With `start` the container is started after the client is attached, so that no output is
        missed; a failure of the start is then told in the status frame. Without `framed` there is
        the output alone. `detach_keys` end the session of a terminal and nothing else.
        """
        require_upgrade(request.headers)
        container = engine.containers.find(reference)
        keys = engine.streams.detach_keys(detach_keys)
        wanted: dict[str, Any] = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        if container.record.config.tty:
            wanted["detach_keys"] = keys

        async def connect(take: Take) -> Attachment:
            taken = await take(raw=not framed)
            return Attachment(fd=taken.fd, tail=taken.tail, raw=not framed, **wanted)

        async def handler(take: Take) -> None:
            await engine.streams.attach(container, partial(connect, take))
            if start:
                await engine.lifecycle.start(container)

        return Hijack(handler)

    @router.post("/{reference}/resize", status_code=204)
    async def resize_container(reference: str, h: int, w: int) -> Response:
        """`h` rows and `w` columns for its terminal."""
        await engine.streams.resize(engine.containers.find(reference), h, w)
        return Response(status_code=204)


def _add_run(router: APIRouter, engine: Engine) -> None:
    @router.post("/run", status_code=101, response_model=None)
    async def run_container(
        body: CreateBody,
        request: Request,
        *,
        stdin: bool = True,
        stdout: bool = True,
        stderr: bool = True,
        detach_keys: str = "",
    ) -> Hijack:
        """Create a container, attach and start it: one request instead of two.

        ``Location`` has the container's path. Whatever fails before the connection is taken over
        is answered as an error, and there is no container; a start that fails is told in the
        status frame, as by ``attach``. The connection ends when all that follows the container's
        end is done, its removal with `auto_remove`.
        """
        require_upgrade(request.headers)
        refuse_key(request)
        keys = engine.streams.detach_keys(detach_keys) if body.tty else b""

        async def connect(take: Take, container: Container) -> Attachment:
            taken = await take(location=f"/v1/containers/{container.id}")
            return Attachment(
                fd=taken.fd,
                tail=taken.tail,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                detach_keys=keys,
                stay=True,
            )

        async def handler(take: Take) -> None:
            await engine.streams.run(body.request(), partial(connect, take))

        return Hijack(handler)


def _add_exec(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/exec", response_model=None)
    async def exec_in_container(
        reference: str,
        body: ExecBody,
        request: Request,
        *,
        stdin: bool = True,
        start: bool = True,
        detach_keys: str = "",
    ) -> Hijack | dict[str, Any]:
        """Run a command inside.

        With ``Upgrade: tcp`` the connection becomes its input and output, and ``Location`` has
        its path below ``/v1/exec``; without, it runs detached and the answer has its id and pid.
        Without `stdin` its input is empty. Without `start` it is created alone, for
        ``/v1/exec/ID/start``.
        """
        container = engine.containers.find(reference)

        def create() -> Exec:
            run = engine.streams.create_exec(
                container, body.process(container), stdin=stdin, privileged=body.privileged
            )
            engine.request_keys.note("exec", run.id)
            return run

        async def make() -> dict[str, Any]:
            run = create()
            if start:
                await engine.streams.start_exec(run, None)
            return {"id": run.id, "pid": run.pid}

        if start and request.headers.get("upgrade") is not None:
            refuse_key(request)
            return await started(engine, request, create, detach_keys)
        return await once(engine, request, "exec", make, lambda made: {"id": made, "pid": None})

    @router.get("/{reference}/exec")
    async def list_execs(page: Paged, reference: str) -> list[dict[str, Any]]:
        """Commands that run inside, or ran and are still known, in the order of their ids."""
        container = engine.containers.find(reference)
        found = sorted(engine.streams.of(container), key=lambda run: run.id)
        return [exec_view(run) for run in page.of(found, lambda run: run.id)]


async def started(
    engine: Engine, request: Request, find: Callable[[], Exec], detach_keys: str
) -> Hijack | dict[str, Any]:
    """Start a command, detached, or connected where the request asks for an upgrade."""
    if request.headers.get("upgrade") is None:
        run = find()
        await engine.streams.start_exec(run, None)
        return {"id": run.id, "pid": run.pid}
    require_upgrade(request.headers)
    return connected(engine, find, detach_keys)


def connected(
    engine: Engine,
    find: Callable[[], Exec],
    detach_keys: str,
    websocket: Upgrade | None = None,
) -> Hijack:
    """Start a command with the connection as its input and output; a websocket has no frames."""
    parsed = engine.streams.detach_keys(detach_keys)

    async def connect(take: Take, run: Exec) -> Attachment:
        if websocket is not None:
            take = websocket.taking(take)
        taken = await take(location=f"/v1/exec/{run.id}")
        keys = parsed if run.process.terminal else b""
        raw = websocket is not None
        return Attachment(fd=taken.fd, tail=taken.tail, stdin=run.stdin, detach_keys=keys, raw=raw)

    async def handler(take: Take) -> None:
        await engine.streams.start_exec(find(), partial(connect, take))

    return Hijack(handler)


def _add_logs(router: APIRouter, engine: Engine) -> None:
    @router.get("/{reference}/logs", response_model=None)
    async def container_logs(
        reference: str,
        *,
        follow_: Annotated[bool, Query(alias="follow")] = False,
        tail: Annotated[int | None, Query(ge=0)] = None,
        stdout: bool = True,
        stderr: bool = True,
        since_ns: Nanoseconds = 0,
        until_ns: Nanoseconds | None = None,
        request: Request,
    ) -> Response:
        """Entries as JSON lines or server-sent events: ``log``, ``stream``, ``time``.

        After ``Last-Event-ID`` come those that follow, whatever `tail` and `since_ns` say.
        """
        container = engine.containers.find(reference)
        streams = frozenset(n for n, w in (("stdout", stdout), ("stderr", stderr)) if w)
        place = Place.parse(last_id(request))
        if place is not None:
            tail, since_ns = None, place.since_ns
        query = LogQuery(
            streams=streams, tail=tail, follow=follow_, since_ns=since_ns, until_ns=until_ns
        )
        pieces = engine.logs.read(container, query)
        lines = placed(pieces, place) if wants_events(request.headers) else plain(pieces)
        return EndlessLines(lambda _: lines) if follow_ else Lines(lines)
