"""``/build``: Docker's classic builder, by our own; its cache, and the end of one that goes on."""

from __future__ import annotations

import base64
import binascii
import json
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from cgagent.api.answers import Json
from cgagent.api.attendance import while_there
from cgagent.api.bodies import parse as parse_json
from cgagent.api.docker.buildlines import Classic
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.progress import encoded
from cgagent.api.docker.resources import limits
from cgagent.api.docker.routing import Route
from cgagent.api.docker.schemas import ResourcesBody, UlimitBody
from cgagent.api.progress import Done, Failed, Streamed, told
from cgagent.api.transfers import uploaded
from cgagent.engine.options.confinement import Ulimit
from cgagent.engine.values import BuildRequest
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.moments import moment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.responses import Response

    from cgagent.api.docker.calls import Call
    from cgagent.engine.build.values import Tell

Message = TypeVar("Message")

_HUB: Final = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")
_MAY_STAY: Final = ("reserved-space", "max-used-space", "keep-storage")
_LIMITS: Final = {
    "memory": "Memory",
    "memswap": "MemorySwap",
    "cpushares": "CpuShares",
    "cpuperiod": "CpuPeriod",
    "cpuquota": "CpuQuota",
}


async def build(call: Call) -> Response:
    """The context is the body; a failure before the first step is the answer's own."""
    request = _request(call)
    got = await uploaded(call.request, call.engine)
    try:
        work = partial(_work, call, request, got.path)
        messages = told(work)
        first = await while_there(call.request, _next(messages))
        if isinstance(first, Failed):
            await messages.aclose()
            raise first.error
    except BaseException:
        got.close()
        raise
    shown = Classic(is_quiet=call.flag("q"))

    async def lines() -> AsyncGenerator[bytes]:
        async with aclosing(messages):
            for line in shown.lines(first):
                yield encoded(line)
            if isinstance(first, Done):
                return
            async for message in messages:
                for line in shown.lines(message):
                    yield encoded(line)

    return Streamed(lines(), got.close, "application/json")


async def _next(messages: AsyncGenerator[Message]) -> Message:
    """It may be long: a context is read before the first step begins."""
    return await anext(messages)


async def _work(call: Call, request: BuildRequest, archive: str, tell: Tell) -> Any:
    return await call.engine.builds.build(request, archive, tell)


def _request(call: Call) -> BuildRequest:
    """Raises InvalidInputError, UnsupportedError."""
    _refuse(call)
    asked, extra = limits(_resources(call))
    platform = call.text("platform")
    return BuildRequest(
        names=tuple(filter(None, call.texts("t"))),
        dockerfile=call.text("dockerfile") or "Dockerfile",
        target=call.text("target"),
        arguments={n: v for n, v in _texts(call, "buildargs").items() if v is not None},
        labels={n: v or "" for n, v in _texts(call, "labels").items()},
        platform=platform,
        pull=call.flag("pull"),
        no_cache=call.flag("nocache"),
        cache_from=tuple(_names(call, "cachefrom")),
        cache_from_alone=bool(_json(call, "cachefrom", list)),
        network=call.text("networkmode"),
        extra_hosts=tuple(
            host for text in call.texts("extrahosts") for host in text.split(",") if host
        ),
        shm_size_bytes=call.number("shmsize") or None,
        ulimits=_ulimits(call),
        limits=asked,
        conveniences=extra,
        cgroup_parent=call.text("cgroupparent"),
        login=_logins(call),
        client_id=call.text("buildid"),
    )


def _refuse(call: Call) -> None:
    if call.text("version") == "2":
        raise RefusedError(
            400,
            "there is no BuildKit here: build with Docker's classic builder (DOCKER_BUILDKIT=0)",
        )
    if call.text("remote"):
        raise RefusedError(
            400, "remote: the agent fetches no contexts from elsewhere; send it as the body"
        )
    if call.flag("squash"):
        raise UnsupportedError("squash is not there: a step's files are its layer")
    if call.texts("securityopt"):
        raise UnsupportedError("security options of a build are not there")
    if call.text("isolation") not in {"", "default"}:
        raise InvalidInputError("isolation: on Linux there is only 'default'")
    platform = call.text("platform")
    if platform and platform.lower().partition("/")[0] not in {"linux"} | _architectures():
        raise RefusedError(
            400, f'invalid platform: "{platform}": unknown operating system or architecture'
        )


def _architectures() -> set[str]:
    return {"amd64", "x86_64", "arm64", "aarch64", "arm", "386", "ppc64le", "s390x", "riscv64"}


def _resources(call: Call) -> ResourcesBody:
    values: dict[str, Any] = {
        field: call.number(name) for name, field in _LIMITS.items() if call.number(name)
    }
    values["CpusetCpus"] = call.text("cpusetcpus")
    values["CpusetMems"] = call.text("cpusetmems")
    return ResourcesBody(**values)


def _json(call: Call, name: str, kind: type) -> Any:
    """A parameter that is JSON; empty where it was left out."""
    text = call.text(name)
    try:
        found = (parse_json(text.encode()) if text else None) or kind()
    except ValueError as e:
        raise InvalidInputError(f"{name}: {e}") from None
    if not isinstance(found, kind):
        raise InvalidInputError(f"{name}: it is not a JSON {kind.__name__}: {text[:60]!r}")
    return found


def _names(call: Call, name: str) -> list[str]:
    found: list[str] = _json(call, name, list)
    if not all(isinstance(one, str) for one in found):
        raise InvalidInputError(f"{name}: not all in it is text")
    return found


def _texts(call: Call, name: str) -> dict[str, str | None]:
    found = _json(call, name, dict)
    if not all(value is None or isinstance(value, str) for value in found.values()):
        raise InvalidInputError(f"{name}: its values are not all text")
    return dict(found)


def _ulimits(call: Call) -> tuple[Ulimit, ...]:
    try:
        given = [UlimitBody.model_validate(one) for one in _json(call, "ulimits", list)]
    except ValidationError as e:
        raise InvalidInputError(f"ulimits: {e.errors()[0]['msg'].lower()}") from None
    return tuple(Ulimit(name=u.Name, soft=u.Soft, hard=u.Hard) for u in given)


def _logins(call: Call) -> Any:
    """The logins by registry of the header ``X-Registry-Config``; no error repeats its text."""
    text = call.header("x-registry-config") or ""
    try:
        usual = text.strip().translate(str.maketrans("-_", "+/"))
        raw = base64.b64decode(usual + "=" * (-len(usual) % 4), validate=True) if usual else b"{}"
        found = json.loads(raw) or {}
        by_name = {str(name): dict(value) for name, value in found.items()}
    except (ValueError, AttributeError, TypeError, binascii.Error, RecursionError):
        raise InvalidInputError(
            "header X-Registry-Config is not base64 of a JSON object of logins by registry"
        ) from None

    def login(registry: str) -> str | None:
        names = _HUB if registry == "docker.io" else (registry, f"https://{registry}/v1/")
        for name in names:
            if name in by_name:
                return base64.urlsafe_b64encode(json.dumps(by_name[name]).encode()).decode()
        return None

    return login


async def prune(call: Call) -> Response:
    filters = call.filters(
        "until", "id", "unused-for", "type", "inuse", "shared", "private", "parent", "description"
    )
    until_s = None
    if texts := filters.get("until") or filters.get("unused-for"):
        found = moment(texts[0], "until")
        until_s = (found or 0) / 1e9
    keep = next(filter(None, map(call.number, _MAY_STAY)), 0)
    removed, freed = await call.engine.builds.cache.prune(
        until_s=until_s, keep_bytes=keep, ids=frozenset(filters.get("id"))
    )
    return Json({"CachesDeleted": removed, "SpaceReclaimed": freed})


async def cancel(call: Call) -> Response:
    call.engine.builds.cancel(call.text("id"))
    return Json(None, 204)


ROUTES: Final = (
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune),
    Route("POST", "/build/cancel", cancel),
)
