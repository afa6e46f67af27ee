"""The process that copies files out of a container's root or into it.

Called by `cgagent.engine.sessions.copier`, a bare interpreter for one request, a JSON object:

    {"op": "stat", "path", "follow"}                 what is there
    {"op": "read", "path", "follow", "name"}         the same, then a tar stream on stdout
    {"op": "write", "path", "keep_owner", "replace"} a tar stream on stdin goes into a directory
    {"op": "export"}                                 a tar stream of the whole root on stdout

It loads all it needs, lets `enter` change its root, and only then looks at a path: whatever the
container has put there, nothing leads out (CVE-2018-15664, CVE-2019-14271). Its answer is
one JSON line: a `stat`, or {"kind", "message"}, an error of `cgagent.errors`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import sys
from typing import TYPE_CHECKING, Any, Final

from .place import Placer
from .tarstream import BadTarError
from .tarwriter import TarWriter, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY_LIMIT_BYTES: Final = 1 << 30
KINDS: Final = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.EROFS: "conflict",
    errno.EPERM: "denied",
    errno.EACCES: "denied",
    errno.ENOTSUP: "unsupported",
    **dict.fromkeys(
        (errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.EMLINK),
        "invalid_input",
    ),
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
}


def stat_of(path: str, *, follow: bool) -> dict[str, Any]:
    """Of a path in the current root; `path` in it has no links left if they were followed."""
    status = os.stat(path, follow_symlinks=follow)
    real = os.path.realpath(path) if follow else path
    link = None
    with contextlib.suppress(OSError):
        link = os.readlink(path)
    return {
        "name": os.path.basename(path.rstrip("/")) or "/",
        "path": real,
        "mode": status.st_mode,
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "link_target": link,
    }


def _read(request: dict[str, Any], proc_fd: int) -> None:
    found = stat_of(request["path"], follow=request["follow"])
    _answer(found)
    writer = TarWriter(write_all, proc_fd)
    writer.add_tree(found["path"], request["name"])
    writer.finish()


def _export(proc_fd: int) -> None:
    _answer({})
    writer = TarWriter(write_all, proc_fd)
    writer.add_entry("/", ".")
    for name in sorted(os.listdir("/")):
        writer.add_tree(f"/{name}", name)
    writer.finish()


def _place(request: dict[str, Any], proc_fd: int) -> None:
    directory = os.path.realpath(os.fsencode(request["path"]))
    os.stat(os.path.join(directory, b"."))  # it is there, and a directory
    placer = Placer(
        directory, proc_fd, keep_owner=request["keep_owner"], replace=request["replace"]
    )
    placer.run_on_input()
    _answer({"entries": placer.entries})


def _answer(value: dict[str, Any]) -> None:
    write_all(json.dumps(value).encode() + b"\n")


def _carry_out(request: dict[str, Any], proc_fd: int) -> None:
    if request["op"] == "stat":
        _answer(stat_of(request["path"], follow=request["follow"]))
    elif request["op"] == "read":
        _read(request, proc_fd)
    elif request["op"] == "export":
        _export(proc_fd)
    else:
        _place(request, proc_fd)


def main(request: dict[str, Any], enter: Callable[[], None]) -> None:
    """Never returns. Of a failure after the answer's first line the exit status tells alone."""
    status = 1
    try:
        proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        enter()
        sys.meta_path.clear()  # a module would come from the container (CVE-2019-14271)
        os.umask(0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
        _carry_out(request, proc_fd)
        status = 0
    except BadTarError as e:
        _fail("invalid_input", f"the archive: {e}")
    except OSError as e:
        where = f"{os.fsdecode(e.filename)}: " if e.filename else ""
        kind = KINDS.get(e.errno or 0, "internal")
        _fail(kind, f"{where}{(e.strerror or str(e)).lower()}")
    except Exception as e:  # noqa: BLE001 -- a traceback would read its source lines inside
        # errors of cgagent's have their kind and message
        _fail(getattr(e, "kind", "internal"), str(e))
    os._exit(status)


def _fail(kind: str, message: str) -> None:
    with contextlib.suppress(OSError):  # the agent has gone
        _answer({"error": {"kind": kind, "message": message}})
