"""The child that writes the files of a step that runs no command: COPY, ADD, WORKDIR.

`Files` starts it in a bare interpreter, with the path of its request, a JSON object:

    groups      files into which "0" is written to join the step's cgroup
    op          "copy", "directory", or "extract" of a plain tar on standard input
    sources     [{"directory"} or {"rootfs", "staging"}, with "paths", each with how many of the
                directories above it are not copied (null: none is), and "globs" where they are
                patterns]
    place       {"directory"} or {"rootfs", "staging"}: the root that is written to
    target      where, in that
    owner, keep_owner, mode, exclude

It opens the sources, changes its root, and only then looks at what is there. Its answer is a JSON
line: {}, or {"error": {"kind", "message"}}.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError
from cgagent.images.build import modes
from cgagent.images.unpack.copy import KINDS
from cgagent.images.unpack.gather import Gatherer, NothingThereError, globbed, owner_of
from cgagent.images.unpack.place import Placer
from cgagent.images.unpack.tarstream import BadTarError
from cgagent.kernel import namespaces
from cgagent.kernel.joining import join_cgroup
from cgagent.pathpatterns import Ignore, glob, is_glob
from cgagent.runtime.container import steps
from cgagent.runtime.helpers import enter

if TYPE_CHECKING:
    import re

_OWN_MOUNTS: Final = {"namespaces": [{"type": "mount"}]}
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MEMORY_LIMIT_BYTES: Final = 1 << 30


def _opened(place: dict[str, Any]) -> int:
    """Its root, mounted in this process's own namespace where it is an overlay."""
    if "directory" in place:
        return os.open(place["directory"], _DIRECTORY)
    setup = steps.Setup({"mounts": [], "linux": _OWN_MOUNTS}, place["rootfs"], place["staging"])
    for step in (steps.make_private, steps.mount_root):
        step(setup)
    return setup.root_fd


def _paths(root: int, source: dict[str, Any]) -> list[tuple[str, int | None]]:
    if not source.get("globs"):
        return [(path, skipped) for path, skipped in source["paths"]]
    found: list[tuple[str, int | None]] = []
    for path, skipped in source["paths"]:
        parts: list[str | re.Pattern[str] | None] = [
            None if part == "**" and skipped is not None else glob(part) if is_glob(part) else part
            for part in path.split("/")
            if part
        ]
        some = list(dict.fromkeys(globbed(root, parts)))
        if not some:
            raise NothingThereError(path)
        found += [(one, skipped) for one in some]
    return found


def _carry_out(request: dict[str, Any]) -> None:
    join_cgroup(request["groups"])
    proc_fd = os.open("/proc/self/fd", _DIRECTORY)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    roots = [(_opened(source), source) for source in request.get("sources", ())]
    enter.running(_opened(request["place"]))
    sys.meta_path.clear()  # a module would come from the image
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    owner = owner_of(request["owner"]) if request.get("owner") else None
    hides = Ignore.parse("\n".join(request.get("exclude", ()))).hides
    keeps = request.get("keep_owner", False)
    gatherer = Gatherer(
        proc_fd,
        owner=owner or (None if keeps else (0, 0)),
        mode=None if request["mode"] is None else modes.change(request["mode"]),
        hides=hides,
    )
    target = request["target"]
    if request["op"] == "directory":
        gatherer.make_directory(target)
    elif request["op"] == "extract":
        gatherer.make_directory(target)
        _extract(target, proc_fd, owner)
    for root, source in roots:
        gatherer.run(root, _paths(root, source), target)


def _extract(target: str, proc_fd: int, owner: tuple[int, int] | None) -> None:
    directory = os.path.realpath(os.fsencode(target))
    keeps = owner is None
    placer = Placer(directory, proc_fd, keep_owner=keeps, replace=True, owner=owner or (0, 0))
    placer.run_on_input()


def main() -> None:
    """Never returns."""
    told: dict[str, Any] = {}
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            request = json.load(file)
        _carry_out(request)
    except BadTarError as e:
        told = _failed("invalid_input", f"the archive: {e}")
    except NothingThereError as e:
        told = _failed("not_found", f"{e}: no such file or directory")
    except CgagentError as e:
        told = _failed(e.kind, e.message)
    except ValueError as e:
        told = _failed("invalid_input", str(e))
    except OSError as e:
        where = f"{os.fsdecode(e.filename)}: " if e.filename else ""
        told = _failed(KINDS.get(e.errno or 0, "internal"), f"{where}{(e.strerror or '').lower()}")
    except Exception as e:  # noqa: BLE001 -- a traceback would read its source lines inside
        told = _failed("internal", repr(e))
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(told).encode() + b"\n")
    os._exit(bool(told))


def _failed(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message}}
