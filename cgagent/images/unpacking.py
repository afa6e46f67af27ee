"""The agent's side of unpacking: one process for the layers of a pull or a load.

`cgagent.images.unpack.child` is that process, and says what is sent to and fro. It starts with the
first layer, and forks a child for each, so layers can be unpacked at the same time; the methods
belong into threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from cgagent import bare
from cgagent.concurrency import StoppedError
from cgagent.errors import InternalError, InvalidInputError
from cgagent.images.compression import decompressed
from cgagent.images.unpack import tarstream
from cgagent.images.unpack.child import MAX_DESCRIPTORS
from cgagent.store.disk import FULL, no_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cgagent.images.compression import Source

_PIPE_BYTES: Final = 1 << 20
_PACKET_BYTES: Final = 1 << 16
_DEATH_S: Final = 1.0


class UnpackingProcess:
    """It holds a shared lock on `locked`, a directory, until the last of its children ends."""

    def __init__(self, locked: Path) -> None:
        self._locked = locked
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def unpack(
        self, plain: Iterator[bytes], diff: str, lowers: Callable[[], Sequence[str]], what: str
    ) -> int:
        """A tar becomes the directory `diff`; the bytes of its files.

        `lowers` is called late: it returns the directories of the lower layers, top first, when
        they are there.

        Raises:
            InvalidInputError: a bad archive.
            NoSpaceError, InternalError, and whatever `plain` and `lowers` raise.
        """
        with ExitStack() as stack:
            pipe, answers = self._request(stack, diff, what)
            _, descriptors = _receive(answers)
            if not descriptors:
                raise self._died(what)
            child = descriptors[0]
            stack.callback(os.close, child)
            try:
                told = _fed(pipe, plain, answers)
                if told == {"inherits": True}:
                    _send_lowers(answers, lowers())
                    told, _ = _receive(answers)
            except BaseException:
                signal.pidfd_send_signal(child, signal.SIGKILL)
                raise
            finally:
                _wait(child)
        if told is None:
            raise self._died(what)
        return _size_bytes(told, diff, what)

    def close(self) -> None:
        """Its children have ended."""
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.wait()

    def _request(self, stack: ExitStack, diff: str, what: str) -> tuple[Any, socket.socket]:
        """The pipe and the socket of a new child."""
        directory = os.open(diff, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pipe = stack.enter_context(os.fdopen(writing, "wb", buffering=0))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(ours)
        with theirs:
            sent = [directory, reading, theirs.fileno()]
            try:
                with contextlib.suppress(PermissionError):  # beyond what a user may have in pipes
                    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
                with self._starting:
                    socket.send_fds(self._started(), [b"{}"], sent)
            except (BrokenPipeError, ConnectionResetError):
                raise self._died(what) from None
            finally:
                os.close(directory)
                os.close(reading)
        return pipe, ours

    def _started(self) -> socket.socket:
        if self._requests is None:
            lock = os.open(self._locked, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH)
                self._process = subprocess.Popen(
                    bare.command("cgagent.images.unpack.child"),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    pass_fds=(lock,),
                    cwd="/",
                    env={},
                )
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
                os.close(lock)
            self._requests = ours
        return self._requests

    def _died(self, what: str) -> InternalError:
        status = ""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = f" with status {self._process.wait(_DEATH_S)}"
        return InternalError(f"{what}: the unpacking process died{status}")


class Reader:
    """Passes a blob on: counts it, and notices that nobody waits any more."""

    def __init__(
        self, source: Source, stop: threading.Event, progress: Callable[[int], None]
    ) -> None:
        self._source = source
        self._stop = stop
        self._progress = progress
        self._count = 0

    def read(self, size: int, /) -> bytes:
        if self._stop.is_set():
            raise StoppedError
        chunk = self._source.read(size)
        self._count += len(chunk)
        self._progress(self._count)
        return chunk


class PlainLayer:
    """The plain bytes of a layer's blob, once, and whether they are those of its diff id."""

    def __init__(self, source: Reader, diff_id: str, what: str) -> None:
        self._source = source
        self._diff_id = diff_id
        self._what = what
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in decompressed(self._source, self._what):
            self._hash.update(chunk)
            yield chunk

    def check(self) -> None:
        """After the last byte.

        Raises:
            InvalidInputError: its content is not what its diff id says.
        """
        found = self._hash.hexdigest()
        if f"sha256:{found}" != self._diff_id:
            raise InvalidInputError(
                f"{self._what}: its content has the digest sha256:{found}, the image's config "
                f"says {self._diff_id}"
            )


def _fed(pipe: Any, plain: Iterator[bytes], answers: socket.socket) -> dict[str, Any] | None:
    """The child's answer to the whole tar."""
    with contextlib.suppress(BrokenPipeError), pipe:  # its answer says why
        tarstream.write(pipe.fileno(), plain)
    told, _ = _receive(answers)
    return told


def _receive(answers: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A packet with its descriptors; None: the child has died."""
    try:
        raw, descriptors, _, _ = socket.recv_fds(answers, _PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        raw, descriptors = b"", []
    return (json.loads(raw) if raw else None), descriptors


def _send_lowers(answers: socket.socket, lowers: Sequence[str]) -> None:
    left = list(lowers)
    while True:
        some, left = left[:MAX_DESCRIPTORS], left[MAX_DESCRIPTORS:]
        with ExitStack() as stack:
            sent = []
            for path in some:
                sent.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                stack.callback(os.close, sent[-1])
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the child has died
                socket.send_fds(answers, [json.dumps({"more": bool(left)}).encode()], sent)
        if not left:
            return


def _wait(child: int) -> None:
    """Until it has ended, and touches no file any more."""
    waiting = select.poll()
    waiting.register(child, select.POLLIN)
    waiting.poll()


def _size_bytes(told: dict[str, Any], diff: str, what: str) -> int:
    kind, message = told.get("kind"), told.get("message")
    if kind is None:
        return int(told["size_bytes"])
    if kind == "bad":
        raise InvalidInputError(f"{what}: {message}")
    if kind == "os" and told["errno"] in FULL:
        raise no_space(f"{what}: unpacking", diff)
    raise InternalError(f"{what}: cannot be unpacked: {message}")
