"""The agent's side of packing: one process for the layers of a commit or a build.

`cgagent.images.unpack.pack` is that process. It starts with the first layer, and forks a child for
each; the methods belong into threads.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from cgagent import bare
from cgagent.errors import InternalError, from_kind

if TYPE_CHECKING:
    from collections.abc import Generator

_CHUNK: Final = 1 << 20


class PackingProcess:
    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def pack(self, request: dict[str, Any], told: dict[str, Any]) -> Generator[bytes]:
        """The tar of what is asked for; `told` has what is said of it afterwards.

        The child ends when nobody reads any more.

        Raises:
            UnsupportedError: a change that no layer can express.
            InternalError.
        """
        with ExitStack() as stack:
            tar, answer = self._begun(request, stack)
            while data := tar.read(_CHUNK):
                yield data
            said = answer.read()
            if not said:
                raise InternalError("packing what a container changed: the process was killed")
            told.update(json.loads(said))
            if "kind" in told:
                message = f"packing what the container changed: {told['message']}"
                raise from_kind(told["kind"], message)

    def close(self) -> None:
        """Its children end by themselves."""
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.wait()

    def _begun(self, request: dict[str, Any], stack: ExitStack) -> tuple[Any, Any]:
        """Files to read the tar from, and the answer."""
        files, theirs = [], []
        for _ in range(2):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            files.append(stack.enter_context(os.fdopen(reading, "rb", buffering=0)))
            theirs.append(writing)
        try:
            with self._starting:
                socket.send_fds(self._started(), [json.dumps(request).encode()], theirs)
        except (BrokenPipeError, ConnectionResetError):
            raise InternalError("packing what a container changed: the process died") from None
        finally:
            for fd in theirs:
                os.close(fd)
        return files[0], files[1]

    def _started(self) -> socket.socket:
        if self._requests is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                self._process = subprocess.Popen(
                    bare.command("cgagent.images.unpack.pack"),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                )
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            self._requests = ours
        return self._requests
