"""What belongs to a swarm, to plugins or to BuildKit, as a docker answers that has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.api.answers import Json
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route

if TYPE_CHECKING:
    from starlette.responses import Response

    from cgagent.api.docker.calls import Call

_KINDS: Final = ("swarm", "nodes", "services", "tasks", "secrets", "configs")
_METHODS: Final = ("GET", "POST", "DELETE", "PUT")


async def no_swarm(_call: Call) -> Response:
    raise RefusedError(
        503,
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
        "connect this node to swarm and try again.",
    )


async def leave(_call: Call) -> Response:
    raise RefusedError(503, "This node is not part of a swarm")


async def no_plugins(_call: Call) -> Response:
    return Json([])


async def no_plugin(call: Call) -> Response:
    raise RefusedError(404, f'plugin "{call.names["name"].partition("/")[0]}" not found')


async def no_session(_call: Call) -> Response:
    raise RefusedError(
        501,
        "there are no sessions of BuildKit here: build with Docker's classic builder "
        "(DOCKER_BUILDKIT=0) or with cgagent build",
    )


ROUTES: Final = (
    Route("POST", "/swarm/leave", leave),
    *(Route(method, f"/{kind}", no_swarm) for kind in _KINDS for method in _METHODS),
    *(Route(method, f"/{kind}/{{name:path}}", no_swarm) for kind in _KINDS for method in _METHODS),
    Route("PUT", "/volumes/{name}", no_swarm),  # only those of a cluster can be changed
    Route("GET", "/plugins", no_plugins),
    *(Route(method, "/plugins/{name:path}", no_plugin) for method in _METHODS),
    Route("POST", "/session", no_session),
    Route("POST", "/grpc", no_session),
)
