"""``/v1/containers``: make, run, control, look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from cgagent.api.hijack import Hijack, require_upgrade
from cgagent.api.native.creation import CreateBody
from cgagent.api.native.schemas import (
    AdoptBody,
    ExecBody,
    LimitsBody,
    container_detail,
    container_summary,
)
from cgagent.engine.streams import Attachment
from cgagent.runtime.logs import LogQuery, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.api.hijack import Take
    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(prefix="/v1/containers", tags=["containers"])
    _add_lifecycle(router, engine)
    _add_rename_and_wait(router, engine)
    _add_adoption(router, engine)
    _add_control(router, engine)
    _add_streams(router, engine)
    return router


def _detail(engine: Engine, reference: str) -> dict[str, Any]:
    container = engine.containers.find(reference)
    log_path = str(engine.lifecycle.bundle(container.id).log)
    return container_detail(container, engine.control, log_path, engine.volumes.path)


def _add_lifecycle(router: APIRouter, engine: Engine) -> None:
    @router.get("")
    async def list_containers(*, all: bool = False) -> list[dict[str, Any]]:  # noqa: A002
        """Running ones; with `all`, all of them. Newest first."""
        shown = [c for c in engine.containers if all or c.running]
        shown.sort(key=lambda c: -c.record.created_ns)
        return [container_summary(c, engine.control) for c in shown]

    @router.post("", status_code=201)
    async def create_container(body: CreateBody) -> dict[str, Any]:
        container = await engine.lifecycle.create(body.request())
        return {"id": container.id, "name": container.name}

    @router.get("/{reference}")
    async def inspect_container(reference: str) -> dict[str, Any]:
        return _detail(engine, reference)

    @router.delete("/{reference}", status_code=204)
    async def remove_container(
        reference: str, *, force: bool = False, volumes: bool = False
    ) -> Response:
        """With `volumes`, those of its own that have no name."""
        container = engine.containers.find(reference)
        await engine.lifecycle.remove(container, force=force, volumes=volumes)
        return Response(status_code=204)

    @router.post("/{reference}/start", status_code=204)
    async def start_container(reference: str) -> Response:
        await engine.lifecycle.start(engine.containers.find(reference))
        return Response(status_code=204)

    @router.post("/{reference}/stop", status_code=204)
    async def stop_container(
        reference: str, timeout_s: Annotated[float | None, Query(ge=0)] = None
    ) -> Response:
        await engine.lifecycle.stop(engine.containers.find(reference), timeout_s)
        return Response(status_code=204)

    @router.post("/{reference}/restart", status_code=204)
    async def restart_container(
        reference: str, timeout_s: Annotated[float | None, Query(ge=0)] = None
    ) -> Response:
        await engine.lifecycle.restart(engine.containers.find(reference), timeout_s)
        return Response(status_code=204)

    @router.post("/{reference}/kill", status_code=204)
    async def kill_container(reference: str, signal: str = "SIGKILL") -> Response:
        await engine.lifecycle.kill(engine.containers.find(reference), signal)
        return Response(status_code=204)


def _add_rename_and_wait(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/rename", status_code=204)
    async def rename_container(reference: str, name: str) -> Response:
        await engine.lifecycle.rename(engine.containers.find(reference), name)
        return Response(status_code=204)

    @router.post("/{reference}/wait")
    async def wait_container(
        reference: str,
        condition: Literal["not-running", "next-exit", "removed"] = "not-running",
    ) -> dict[str, Any]:
        container = engine.containers.find(reference)
        return {"exit_code": await engine.lifecycle.wait(container, condition)}


def _add_adoption(router: APIRouter, engine: Engine) -> None:
    @router.post("/adopt", status_code=201)
    async def adopt_process(body: AdoptBody) -> dict[str, Any]:
        """Bring a process of the host and its descendants under limits."""
        container = await engine.adoption.adopt(
            body.pid, body.name, body.limits.limits(), body.limits.conveniences()
        )
        return {"id": container.id, "name": container.name}

    @router.post("/{reference}/release", status_code=204)
    async def release_container(reference: str) -> Response:
        """Put an adopted tree back where it was."""
        await engine.adoption.release(engine.containers.find(reference))
        return Response(status_code=204)


def _add_control(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/freeze", status_code=204)
    async def freeze_container(
        reference: str,
        timeout_s: Annotated[float, Query(gt=0)] = 10.0,
        lease_s: Annotated[float | None, Query(gt=0)] = None,
    ) -> Response:
        """With `lease_s`, the container is thawed by itself after so long."""
        await engine.control.freeze(engine.containers.find(reference), timeout_s, lease_s)
        return Response(status_code=204)

    @router.post("/{reference}/thaw", status_code=204)
    async def thaw_container(reference: str) -> Response:
        await engine.control.thaw(engine.containers.find(reference))
        return Response(status_code=204)

    @router.post("/{reference}/update")
    async def update_container(
        reference: str, body: LimitsBody, *, force: bool = False
    ) -> dict[str, Any]:
        """Change limits; the answer is what `GET` shows, with what the kernel holds now.

        A memory limit below what is used is reached in steps, or, with `force`, at once.
        """
        container = engine.containers.find(reference)
        await engine.control.update(container, body.limits(), body.conveniences(), force=force)
        return _detail(engine, reference)

    @router.get("/{reference}/stats")
    async def container_stats(reference: str) -> dict[str, Any]:
        """The last sample and the rates since the one before; a fresh sample if there is none."""
        return engine.monitor.stats(engine.containers.find(reference))

    @router.get("/{reference}/processes")
    async def container_processes(reference: str) -> dict[str, Any]:
        return {"pids": engine.control.process_ids(engine.containers.find(reference))}


def _add_streams(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/attach", status_code=101, response_model=None)
    async def attach_container(
        reference: str,
        request: Request,
        *,
        start: bool = False,
        stdin: bool = True,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Hijack:
        """Take the connection over: framed output down, raw input up, a status frame at the end.

        With `start` the container is started after the client is attached, so that no output is
        missed; a failure of the start is then told in the status frame.
        """
        require_upgrade(request.headers)
        container = engine.containers.find(reference)
        wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr}

        async def handler(take: Take) -> None:
            await engine.streams.attach(container, lambda: _attachment(take, wanted))
            if start:
                await engine.lifecycle.start(container)

        return Hijack(handler)

    @router.post("/{reference}/exec", response_model=None)
    async def exec_in_container(
        reference: str, body: ExecBody, request: Request
    ) -> Hijack | dict[str, Any]:
        """Run a command inside.

        With ``Upgrade: tcp`` the connection becomes its input and output; without, it runs
        detached and the answer has its id and pid.
        """
        container = engine.containers.find(reference)
        process = body.process(container)
        if request.headers.get("upgrade") is None:
            run = await engine.streams.exec(container, process, None, privileged=body.privileged)
            return {"id": run.id, "pid": run.pid}
        require_upgrade(request.headers)
        wanted = {"stdin": True, "stdout": True, "stderr": True}

        async def handler(take: Take) -> None:
            await engine.streams.exec(
                container,
                process,
                lambda: _attachment(take, wanted),
                privileged=body.privileged,
            )

        return Hijack(handler)

    @router.get("/{reference}/logs", response_model=None)
    async def container_logs(
        reference: str,
        *,
        follow_: Annotated[bool, Query(alias="follow")] = False,
        tail: Annotated[int | None, Query(ge=0)] = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> StreamingResponse:
        """Entries as JSON lines: ``log``, ``stream``, ``time``."""
        container = engine.containers.find(reference)
        container.require_started_here("showing its output")
        streams = frozenset(n for n, w in (("stdout", stdout), ("stderr", stderr)) if w)
        query = LogQuery(streams=streams, tail=tail, follow=follow_)
        path = str(engine.lifecycle.bundle(container.id).log)

        async def lines() -> AsyncIterator[bytes]:
            async for entries in follow(path, query, lambda: container.running):
                yield b"".join(json.dumps(e).encode() + b"\n" for e in entries)

        return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _attachment(take: Take, wanted: dict[str, bool]) -> Attachment:
    taken = await take()
    return Attachment(fd=taken.fd, tail=taken.tail, **wanted)
