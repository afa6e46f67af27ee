"""A child that opens the files of a container whose ids are mapped, under the ids it will have.

`cgagent.engine.lifecycle.userns` starts it as ``python -I -S``, with the host's power: id-mapped
clones of the image's layers make an overlay in a mount namespace of its own, and trees of that and
of the bind mounts go to the agent over a socket. Files on disk keep the ids they have without a
mapping. Needs kernel 5.19.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

from cgagent.errors import CgagentError, UnsupportedError
from cgagent.kernel import capabilities as caps
from cgagent.kernel import mount as km
from cgagent.kernel import namespaces, userns
from cgagent.messages import wire
from cgagent.messages.record import decode
from cgagent.runtime.container import steps
from cgagent.runtime.container.birth import from_os_error
from cgagent.runtime.messages.children import MapFiles, MappedTrees
from cgagent.runtime.messages.outcomes import Failed

_RW: Final = "rw"
_MERGED: Final = "merged"


def main() -> None:
    """The child: a socket's descriptor is its argument, and `MapFiles` on its standard input."""
    said = sys.stdin.buffer.read()
    if not said:  # who started it has given up
        return
    job = decode(said, MapFiles)
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        try:
            root, trees = _open(job)
        except CgagentError as e:
            wire.send(sock, Failed.of(e))
        except OSError as e:
            error = from_os_error("open the files of a user namespace", e)
            wire.send(sock, Failed.of(error))
        else:
            wire.send(sock, MappedTrees(places=tuple(trees)), [root, *trees.values()])


def _open(job: MapFiles) -> tuple[int, dict[int, int]]:
    mapped = userns.carrier(userns.Mappings.of_block(job.first, job.count))
    # before our own mount namespace: bind mounts may follow the host's
    trees = dict(steps.open_trees(steps.Setup(job.config, [], "/"), mapped))
    if job.work is None:
        return _clone_mapped(job.upper, mapped), trees
    namespaces.unshare(namespaces.CLONE_NEWNS)
    km.mount(None, "/", None, km.MS_PRIVATE | km.MS_REC)
    km.mount("tmpfs", job.staging, "tmpfs", 0, "mode=755")
    os.chdir(job.staging)  # so that names are short: mount(2) takes 4096 bytes of options
    names = [str(number) for number, _ in enumerate(job.lowers)]
    for name, lower in zip(names, job.lowers, strict=True):
        _attach_mapped(lower, name, mapped)
    changes = os.path.dirname(job.upper)
    _attach_mapped(changes, _RW, mapped)
    upper, work = (f"{_RW}/{os.path.relpath(path, changes)}" for path in (job.upper, job.work))
    os.mkdir(_MERGED)
    _become_mapped_root(job.first)
    options = f"lowerdir={':'.join(names)},upperdir={upper},workdir={work}"
    km.mount("overlay", _MERGED, "overlay", 0, options)
    return km.clone_tree(_MERGED, recursive=False), trees


def _attach_mapped(source: str, name: str, mapped: int) -> None:
    os.mkdir(name)
    tree = _clone_mapped(source, mapped)
    target = os.open(name, os.O_PATH)
    km.attach(tree, target)
    for fd in (tree, target):
        os.close(fd)


def _clone_mapped(source: str, mapped: int) -> int:
    tree = km.clone_tree(source, recursive=False)
    try:
        km.map_ids(tree, mapped, recursive=False)
    except OSError as e:
        reason = os.strerror(e.errno or 0).lower()
        raise UnsupportedError(f"{source}: its file system cannot be id-mapped: {reason}") from None
    return tree


def _become_mapped_root(first: int) -> None:
    """With every power: what overlayfs makes for itself belongs to whoever mounts it."""
    ours = caps.held_by_us()
    caps.keep_over_setuid(keep=True)
    os.setresgid(first, first, first)
    os.setresuid(first, first, first)
    caps.set_process(ours, ours, 0)
