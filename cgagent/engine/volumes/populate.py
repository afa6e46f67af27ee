"""The first content of a volume: what the image has in the directory that it is mounted over.

The image's root is mounted in a mount namespace of a child's own, so that nothing of it is ever
seen on the host, and every path in it is opened beneath that root: a symlink of the image's leads
nowhere else. The child is `cgagent.runtime.helpers.populate`; this is the agent's side of it.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from cgagent.engine import children
from cgagent.errors import InternalError
from cgagent.store.disk import FULL, no_space


async def run(root: dict[str, Any], staging: str, copies: dict[str, str]) -> list[str]:
    """Copy directories of the image, each into a new one.

    Args:
        root: the root file system, as an OCI mount.
        staging: an empty directory to mount it on.
        copies: paths in the image, each with the directory to be made for it.

    Returns:
        Those that were made: not where the image has no such directory.

    Raises:
        InternalError, NoSpaceError: the cause; some may be half made.
    """
    job = json.dumps({"root": root, "staging": staging, "copies": copies}).encode()
    child = await children.spawn(
        "cgagent.runtime.helpers.populate",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LANG": "C.UTF-8"},
    )
    try:
        told, _ = await child.communicate(job)
    except BaseException:
        await children.end(child)
        raise
    if not told:
        raise InternalError(f"filling a volume: its process died with status {child.returncode}")
    answer = json.loads(told)
    if answer.get("errno") in FULL:
        raise no_space("filling a volume", next(iter(copies.values())))
    if "error" in answer:
        raise InternalError(f"filling a volume from the image: {answer['error']}")
    filled: list[str] = answer["filled"]
    return filled
