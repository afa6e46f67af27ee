"""The process that unpacks a build's context: a plain tar on standard input, into a directory.

Started by `cgagent.engine.build` in a bare interpreter, with the directory, the name of the
Dockerfile in it and the files by which it joins its cgroup (`groups`) as a JSON object. It changes
its root to the directory before the first byte is
read. What the .dockerignore leaves out is deleted; all files become root's. Lines of JSON on
standard output:

    {"dockerfile": base64 or null}           its content, also where it is left out
    {"path", "kind", "mode", ...}            each file that is there; see `images.build.context`
    {"done": true} or {"error": {"kind", "message"}}
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import resource
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError
from cgagent.kernel.joining import join_cgroup
from cgagent.pathpatterns import Ignore

from .copy import KINDS
from .place import Placer
from .tarstream import BadTarError
from .tarwriter import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY_LIMIT_BYTES: Final = 2 << 30
_MAX_DOCKERFILE_BYTES: Final = 4 << 20
_CHUNK: Final = 1 << 18
_SENT_ALONG: Final = ".dockerfile."
"""How clients call a Dockerfile that is none of the context's files."""
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


def _unpack(request: dict[str, Any]) -> None:
    join_cgroup(request["groups"])
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(request["directory"])
    os.chroot(".")
    sys.meta_path.clear()  # a module would come from the context
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    Placer(b"/", proc_fd, keep_owner=False, replace=True).run_on_input()
    name = request["dockerfile"]
    content = _file(name)
    if content is None and name == "Dockerfile":
        content = _file("dockerfile")
    if name.startswith(_SENT_ALONG):
        os.unlink(f"/{name}")
    rules = _file(f"{name}.dockerignore")
    if rules is None:
        rules = _file(".dockerignore") or b""
    ignore = Ignore.parse(rules.decode("utf-8", "replace"))
    told = None if content is None else base64.b64encode(content).decode()
    _tell({"dockerfile": told})
    for entry in _walk(ignore):
        _tell(entry)
    _tell({"done": True})


def _file(name: str) -> bytes | None:
    """Of the context, whatever links there are in it."""
    path = os.path.join("/", name)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return file.read(_MAX_DOCKERFILE_BYTES + 1)
    except OSError as e:
        if e.errno in _NOT_THERE:
            return None
        raise


def _walk(ignore: Ignore) -> Iterator[dict[str, Any]]:
    """Every entry that is left; the others are deleted, directories when they are empty then."""
    directories = []
    pending = [""]
    while pending:
        path = pending.pop()
        for name in sorted(os.listdir(f"/{path}")):
            inner = f"{path}/{name}" if path else name
            status = os.lstat(f"/{inner}")
            is_directory = stat.S_ISDIR(status.st_mode)
            if is_directory:
                pending.append(inner)
                directories.append(inner)
            elif ignore and ignore.hides(inner):
                os.unlink(f"/{inner}")
                continue
            yield _entry(inner, status)
    for path in reversed(directories):
        if ignore and ignore.hides(path):
            with contextlib.suppress(OSError):  # something in it is taken back
                os.rmdir(f"/{path}")
                _tell({"gone": path})


def _entry(path: str, status: os.stat_result) -> dict[str, Any]:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    found: dict[str, Any] = {"path": path, "kind": kind, "mode": stat.S_IMODE(status.st_mode)}
    if kind == "file":
        found["digest"] = _digest(f"/{path}")
    elif kind == "link":
        found["target"] = os.readlink(f"/{path}")
    return found


def _digest(path: str) -> str:
    found = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while data := os.read(fd, _CHUNK):
            found.update(data)
    finally:
        os.close(fd)
    return found.hexdigest()


def _tell(value: dict[str, Any]) -> None:
    write_all(json.dumps(value).encode() + b"\n")


def main() -> None:
    """Never returns."""
    try:
        _unpack(json.loads(sys.argv[1]))
        os._exit(0)
    except BadTarError as e:
        told = {"kind": "invalid_input", "message": f"build context: {e}"}
    except CgagentError as e:
        told = {"kind": e.kind, "message": e.message}
    except OSError as e:
        kind = KINDS.get(e.errno or 0, "internal")
        where = f"{os.fsdecode(e.filename)}: " if e.filename else ""
        told = {"kind": kind, "message": f"build context: {where}{(e.strerror or str(e)).lower()}"}
    except Exception as e:  # noqa: BLE001 -- a traceback would read its source lines inside
        told = {"kind": "internal", "message": f"build context: {e!r}"}
    with contextlib.suppress(OSError):
        _tell({"error": told})
    os._exit(1)
