"""A child that copies directories out of an image's root, for the first content of volumes.

Started by `cgagent.engine.volumes.populate` as ``python -I -S``: it mounts the root in a mount
namespace of its own, opens every path beneath it, copies, and ends; the mounts end with it.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import Any

from cgagent.kernel import beneath, namespaces
from cgagent.kernel import mount as km
from cgagent.runtime.container.mounts import Mount
from cgagent.runtime.helpers import copyup


def main() -> None:
    """The child: the job on standard input, one JSON object of an answer on standard output."""
    said = sys.stdin.buffer.read()
    if not said:  # who started it has given up
        return
    job = json.loads(said)
    answer: dict[str, Any]
    try:
        filled = _fill(job["root"], job["staging"], job["copies"])
    except OSError as e:
        answer = {"errno": e.errno, "error": f"{e.filename or ''} {e.strerror}".strip().lower()}
    except RecursionError:
        answer = {"errno": errno.ELOOP, "error": "directories are nested too deeply"}
    else:
        answer = {"filled": filled}
    sys.stdout.write(json.dumps(answer))


def _fill(root: dict[str, Any], staging: str, copies: dict[str, str]) -> list[str]:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    km.mount(None, "/", None, km.MS_PRIVATE | km.MS_REC)
    m = Mount.from_oci(root)
    flags = m.options.flags | km.MS_RDONLY | km.MS_NODEV | km.MS_NOSUID
    km.mount(m.source, staging, m.type, flags, m.options.data)
    root_fd = os.open(staging, os.O_PATH | os.O_DIRECTORY)
    filled = []
    for inside, target in copies.items():
        try:
            source = beneath.open_in_root(root_fd, inside, os.O_PATH | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            continue
        os.mkdir(target, 0o700)
        into = os.open(target, os.O_PATH | os.O_DIRECTORY)
        copyup.copy(source, into)
        filled.append(target)
    return filled
