"""Things by the names in a path; one that is not there is told in docker's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.api.docker.errors import RefusedError
from cgagent.errors import NoSuchImageError, NotFoundError

if TYPE_CHECKING:
    from cgagent.api.docker.calls import Call
    from cgagent.engine.containers.container import Container
    from cgagent.engine.engine import Engine
    from cgagent.engine.sessions.streams import Exec
    from cgagent.engine.values import Image


def container(call: Call) -> Container:
    return container_named(call.engine, call.names["id"])


def container_named(engine: Engine, reference: str) -> Container:
    """Raises RefusedError: there is none."""
    try:
        return engine.containers.find(reference.removeprefix("/"))
    except NotFoundError:
        raise RefusedError(404, f"No such container: {reference}") from None


def image(engine: Engine, name: str) -> Image:
    """Raises RefusedError: there is none."""
    try:
        return engine.images.resolve(name)
    except NoSuchImageError:
        raise no_such_image(name) from None


def no_such_image(name: str) -> RefusedError:
    tagged = name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
    return RefusedError(404, f"No such image: {tagged}")


def execution(call: Call) -> Exec:
    """Raises RefusedError: there is none."""
    try:
        return call.engine.streams.find(call.names["id"])
    except NotFoundError:
        raise RefusedError(404, f"No such exec instance: {call.names['id']}") from None
