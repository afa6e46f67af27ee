"""The process that unpacks the layers of a pull or a load, each in a child of its own.

Started by `cgagent.images.unpacking` as ``python -I -S``, once for all layers. For each layer it
gets three descriptors: the directory to fill, a pipe with the plain tar, and a socket to answer on.
It forks; the child enters the directory with chroot, can load no module any more, and only then
reads the first byte: whatever an image names, `..` and links included, stays inside, and no code
of the image's is ever loaded (CVE-2018-15664, CVE-2019-14271). Decompression and digests are
the agent's work; so is removing a half-filled directory.

On the socket, a packet each:

    child   {} with its pidfd                       it is there
    child   {"inherits": true}                      all is placed; it needs the lower layers
    agent   {"more": bool} with their descriptors   top first, in several packets if need be
    child   {"size_bytes", "entries"}               done
    child   {"kind", "message"}                     it failed, at whatever point
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import socket
import sys
from typing import Any, Final

from .apply import Unpacker
from .tarstream import BadTarError, TarStream

MAX_DESCRIPTORS: Final = 200
"""In one packet; the kernel takes 253."""
_PACKET_BYTES: Final = 1 << 16
_DRAINED_BYTES: Final = 1 << 16
_MEMORY_LIMIT_BYTES: Final = 1 << 30


def _confine(directory: int) -> None:
    os.fchdir(directory)
    os.chroot(".")
    sys.meta_path.clear()  # a module would come from the image
    sys.path.clear()
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))


def _unpack(plain: int, answers: socket.socket) -> dict[str, Any]:
    """Into the current root."""
    unpacker = Unpacker()
    unpacker.run(TarStream(io.FileIO(plain, closefd=False), sparse=True))
    while os.read(plain, _DRAINED_BYTES):
        pass  # padding after the end of the archive belongs to the digest
    if unpacker.inherits:
        _tell(answers, {"inherits": True})
        unpacker.inherit(_lowers(answers))
    return {"size_bytes": unpacker.size_bytes, "entries": unpacker.entries}


def _lowers(answers: socket.socket) -> list[int]:
    found: list[int] = []
    while True:
        raw, descriptors, _, _ = socket.recv_fds(answers, _PACKET_BYTES, MAX_DESCRIPTORS)
        if not raw:  # the agent has gone, or does not want the layer any more
            os._exit(0)
        found += descriptors
        if not json.loads(raw)["more"]:
            return found


def _answer(directory: int, plain: int, answers: socket.socket) -> dict[str, Any]:
    try:
        socket.send_fds(answers, [b"{}"], [os.pidfd_open(os.getpid())])
        _confine(directory)
        return _unpack(plain, answers)
    except BadTarError as e:
        return {"kind": "bad", "message": str(e)}
    except MemoryError:
        return {"kind": "bad", "message": "it needs more memory than one layer may"}
    except OSError as e:
        return {"kind": "os", "errno": e.errno, "message": e.strerror}
    except Exception as e:  # noqa: BLE001 -- a traceback would read its source lines inside the image
        return {"kind": "defect", "message": repr(e)}


def _tell(answers: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the agent has gone
        answers.send(json.dumps(message).encode())


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Standard input is a socket for requests; its end is the end, when the children have ended."""
    requests = socket.socket(fileno=os.dup(0))
    gc.disable()
    while True:
        raw, descriptors, _, _ = socket.recv_fds(requests, _PACKET_BYTES, 3)
        if not raw:
            break
        directory, plain, answering = descriptors
        if os.fork() == 0:
            requests.close()
            os.close(0)
            answers = socket.socket(fileno=answering)
            _tell(answers, _answer(directory, plain, answers))
            os._exit(0)
        for fd in descriptors:
            os.close(fd)
        _reap()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
