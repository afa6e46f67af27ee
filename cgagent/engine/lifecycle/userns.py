"""A container with a user namespace: its files, opened under the ids that it will have.

Done by a child, `cgagent.runtime.helpers.mapped`: this is the agent's side of it.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from cgagent.engine import children
from cgagent.errors import InternalError
from cgagent.messages import wire
from cgagent.messages.record import encode
from cgagent.runtime.messages.children import MAPPED, MapFiles
from cgagent.runtime.messages.outcomes import Failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.engine.containers.bundle import Bundle
    from cgagent.engine.containers.container import Record


class Opened(NamedTuple):
    """For the supervisor's `Start`."""

    owner: int | None = None
    places: tuple[int, ...] | None = None
    fds: tuple[int, ...] = ()
    """Of mounts."""


@asynccontextmanager
async def opened(record: Record, config: dict[str, Any], bundle: Bundle) -> AsyncIterator[Opened]:
    """The descriptors are closed at the end. Nothing for a container without a user namespace.

    Raises:
        UnsupportedError: a file system or the kernel cannot map ids.
        NotFoundError: what is to be bound is not there.
    """
    ids = record.resolved.namespaces.user_ids
    if ids is None or record.rootfs is None:
        yield Opened()
        return
    first, count = ids
    rootfs = record.rootfs
    job = MapFiles(
        config=config,
        lowers=tuple(rootfs.lowers),
        upper=str(rootfs.upper),
        work=rootfs.work,
        staging=str(bundle.root),
        first=first,
        count=count,
    )
    places, fds = await _ask(encode(job))
    try:
        yield Opened(first, places, tuple(fds))
    finally:
        for fd in fds:
            os.close(fd)


async def _ask(job: bytes) -> tuple[tuple[int, ...], list[int]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            child = await children.spawn(
                *("cgagent.runtime.helpers.mapped", str(theirs.fileno())),
                stdin=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={"LANG": "C.UTF-8"},
            )
        try:
            await child.communicate(job)
        except BaseException:
            await children.end(child)
            raise
        received = wire.receive(ours, *MAPPED)  # the child has ended: it is there, or its end is
    if received is None:
        raise InternalError(f"mapping ids: the process died with status {child.returncode}")
    answer, fds = received
    if isinstance(answer, Failed):
        raise answer.why.error()
    return answer.places, fds
