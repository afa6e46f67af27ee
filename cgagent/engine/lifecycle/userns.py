"""A container with a user namespace: its files, opened under the ids that it will have.

Done by a child, `cgagent.runtime.helpers.mapped`: this is the agent's side of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cgagent import bare
from cgagent.errors import InternalError
from cgagent.runtime import wire
from cgagent.runtime.protocol import error_from_wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.engine.containers.bundle import Bundle
    from cgagent.engine.containers.container import Record


@asynccontextmanager
async def opened(
    record: Record, config: dict[str, Any], bundle: Bundle
) -> AsyncIterator[tuple[dict[str, Any], list[int]]]:
    """For the supervisor's ``start``: what to say, and descriptors of mounts, closed at the end.

    Nothing of both for a container without a user namespace.

    Raises:
        UnsupportedError: a file system or the kernel cannot map ids.
        NotFoundError: what is to be bound is not there.
    """
    ids = record.resolved.namespaces.user_ids
    if ids is None or record.rootfs is None:
        yield {}, []
        return
    first, count = ids
    rootfs = record.rootfs
    job = {
        "config": config,
        "lowers": list(rootfs.lowers),
        "upper": str(rootfs.upper),
        "work": str(rootfs.work),
        "staging": str(bundle.root),
        "first": first,
        "count": count,
    }
    places, fds = await _ask(json.dumps(job).encode())
    try:
        yield {"trees": places, "owner": first}, fds
    finally:
        for fd in fds:
            os.close(fd)


async def _ask(job: bytes) -> tuple[list[int], list[int]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            child = await asyncio.create_subprocess_exec(
                *bare.command("cgagent.runtime.helpers.mapped", str(theirs.fileno())),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env={"LANG": "C.UTF-8"},
            )
        try:
            await child.communicate(job)
        except BaseException:
            child.kill()
            await child.wait()
            raise
        received = wire.receive(ours)  # the child has ended: it is there, or its end is
    if received is None:
        raise InternalError(f"mapping ids: the process died with status {child.returncode}")
    answer, fds = received
    if "error" in answer:
        raise error_from_wire(answer["error"])
    return answer["trees"], fds
