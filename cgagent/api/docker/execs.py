"""``/containers/ID/exec`` and ``/exec``: further commands inside a container."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from cgagent.api.answers import Json
from cgagent.api.docker import lookup, schemas, streams
from cgagent.api.docker.containers import size_of
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.api.native.schemas import ExecBody as NativeExec
from cgagent.errors import EXIT_CODE, InvalidInputError

if TYPE_CHECKING:
    from cgagent.api.docker.calls import Call
    from cgagent.api.hijack import Take
    from cgagent.engine.sessions.streams import Attachment, Exec


async def create(call: Call) -> Response:
    container = lookup.container(call)
    body = await call.body(schemas.ExecBody)
    if not body.Cmd:
        raise InvalidInputError("No exec command specified")
    if not container.running:
        raise RefusedError(409, f"container {container.id} is not running")
    asked = NativeExec(
        command=body.Cmd,
        env=body.Env,
        working_dir=body.WorkingDir or None,
        user=body.User or None,
        tty=body.Tty,
        console_size=_size(body.ConsoleSize),
    )
    call.engine.streams.detach_keys(body.DetachKeys)
    run = call.engine.streams.create_exec(
        container,
        asked.process(container),
        privileged=body.Privileged,
        stdin=body.AttachStdin,
        stdout=body.AttachStdout,
        stderr=body.AttachStderr,
        detach_keys=body.DetachKeys,
    )
    return Json({"Id": run.id}, 201)


def _size(size: list[int]) -> tuple[int, int] | None:
    rows, columns = (*size, 0, 0)[:2]
    return (rows, columns) if rows and columns else None


async def start(call: Call) -> Response:
    run = lookup.execution(call)
    body = await call.body(schemas.ExecStartBody)
    if run.running:
        raise RefusedError(409, f"exec command {run.id} is already running")
    if size := _size(body.ConsoleSize):
        run.process = replace(run.process, console_size=size)
    if body.Detach:
        await call.engine.streams.start_exec(run, None)
        return Response(media_type="application/json")
    keys = call.engine.streams.detach_keys(run.detach_keys) if run.process.terminal else b""

    async def connect(take: Take, run: Exec) -> Attachment:
        taken = await take(raw=streams.is_told_raw(call, tty=body.Tty), apart=True)
        return streams.attachment(
            taken,
            tty=body.Tty,
            stdin=run.stdin,
            stdout=run.stdout,
            stderr=run.stderr,
            failures=True,
            detach_keys=keys,
            stay=True,  # so that its exit code is known when the client asks for it
        )

    async def handler(take: Take) -> None:
        async def connected(run: Exec) -> Attachment:
            return await connect(take, run)

        await call.engine.streams.start_exec(run, connected)

    return call.hijack(handler)


async def resize(call: Call) -> Response:
    rows, columns = size_of(call)
    await call.engine.streams.resize_exec(lookup.execution(call), rows, columns)
    return Response()


async def inspect(call: Call) -> Response:
    """Of one that is just being started it is waited for how that goes: its client asks then."""
    run = lookup.execution(call)
    if run.running:
        await run.begun.wait()
    return Json(_shape(run))


def _shape(run: Exec) -> dict[str, Any]:
    code = run.exit_code
    if code is None and run.failure is not None:
        code = EXIT_CODE[run.failure]
    entrypoint, *arguments = run.process.args
    return {
        "ID": run.id,
        "Running": run.running,
        "ExitCode": code,
        "ProcessConfig": {
            "tty": run.process.terminal,
            "entrypoint": entrypoint,
            "arguments": arguments,
            "privileged": run.privileged,
            "user": run.process.user,
        },
        "OpenStdin": run.stdin,
        "OpenStderr": run.stderr,
        "OpenStdout": run.stdout,
        "CanRemove": False,
        "ContainerID": run.container.id,
        "DetachKeys": "",
        "Pid": run.pid or 0,
    }


ROUTES: Final = (
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("POST", "/exec/{id}/resize", resize),
    Route("GET", "/exec/{id}/json", inspect),
)
