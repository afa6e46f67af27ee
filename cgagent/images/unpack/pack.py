"""The process that packs what containers have changed: upper directories as layers' tars.

Started by `cgagent.images.packing` in a bare interpreter. A request is a packet, {"upper",
"skipped", "with_root"}, with two pipes: the tar goes to the first, and a JSON line to the second,
{"size_bytes"} of the files in it, or {"kind", "message"} of a failure. A child for each changes
its root to the upper directory before it looks at a name, so no link leads out. overlayfs's marks
become those of a layer: a whiteout the file ``.wh.NAME``, an opaque directory the file
``.wh..wh..opq`` in it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from .tarwriter import TarWriter, write_all
from .trees import PATH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY_LIMIT_BYTES: Final = 1 << 30
_PACKET_BYTES: Final = 1 << 18
_WHITEOUT: Final = ".wh."
_SHOWN: Final = 60
_OPAQUE: Final = ".wh..wh..opq"
_REFUSED: Final = ("trusted.overlay.redirect", "trusted.overlay.metacopy")


class NotALayerError(Exception):
    """What a container has written cannot be said in a layer. The text says what and where."""


class Packer(TarWriter):
    """`skipped` are paths that were made for mounts, and are empty."""

    def __init__(
        self, write: Callable[[bytes], object], proc_fd: int, skipped: frozenset[str]
    ) -> None:
        super().__init__(write, proc_fd)
        self._skipped = skipped

    def run(self, *, with_root: bool) -> None:
        """All below the current root, and with `with_root` that one's own attributes."""
        if with_root:
            self.add_entry("/", ".")
        for name in sorted(os.listdir("/")):
            self.add_tree(f"/{name}", name)
        self.finish()

    def add_entry(self, path: str, name: str) -> list[tuple[str, str]]:
        if path in self._skipped:
            return []
        if len(os.fsencode(path)) >= PATH_MAX:
            raise NotALayerError(
                f"{path[:_SHOWN]}...: a path that is longer than {PATH_MAX - 1} bytes cannot be "
                "unpacked"
            )
        status = os.lstat(path)
        directory, base = os.path.split(name)
        if _is_whiteout(path, status):
            self.add_empty(os.path.join(directory, _WHITEOUT + base))
            return []
        if base.startswith(_WHITEOUT):
            raise NotALayerError(f"{path}: a layer cannot hold a file of that name")
        for mark in _REFUSED:
            if _attribute(path, mark) is not None:
                raise NotALayerError(f"{path}: it has {mark}, by an overlay that was not ours")
        below = super().add_entry(path, name)
        if stat.S_ISDIR(status.st_mode) and _attribute(path, "trusted.overlay.opaque") == b"y":
            self.add_empty(os.path.join(name, _OPAQUE))
        return below


def _is_whiteout(path: str, status: os.stat_result) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    is_empty = stat.S_ISREG(status.st_mode) and not status.st_size
    return is_empty and _attribute(path, "trusted.overlay.whiteout") is not None


def _attribute(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:  # it has none, or the file system has no such thing
        return None


def _pack(request: dict[str, Any], tar: int) -> int:
    """Write the tar; the bytes of the files in it."""
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chroot(request["upper"])
    os.chdir("/")
    sys.meta_path.clear()  # a module would come from the container
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    os.dup2(tar, 1)
    packer = Packer(write_all, proc_fd, frozenset(request["skipped"]))
    packer.run(with_root=request["with_root"])
    return packer.size_bytes


def _answer(request: dict[str, Any], tar: int) -> dict[str, Any]:
    try:
        return {"size_bytes": _pack(request, tar)}
    except NotALayerError as e:
        return {"kind": "unsupported", "message": str(e)}
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        return {"kind": "internal", "message": f"{where}{(e.strerror or str(e)).lower()}"}
    except Exception as e:  # noqa: BLE001 -- a traceback would read its source lines inside
        return {"kind": "internal", "message": repr(e)}


def main() -> None:
    """Standard input is a socket for requests; its end is the end, when the children have ended."""
    requests = socket.socket(fileno=os.dup(0))
    gc.disable()
    while True:
        raw, descriptors, _, _ = socket.recv_fds(requests, _PACKET_BYTES, 2)
        if not raw:
            break
        tar, answer = descriptors
        if os.fork() == 0:
            requests.close()
            told = _answer(json.loads(raw), tar)
            os.write(answer, json.dumps(told).encode() + b"\n")
            os._exit(0)
        for fd in descriptors:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
