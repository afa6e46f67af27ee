"""A unix socket in front of another one, which checks every answer of docker's API on its way.

Docker's clients are given this one. What they send and get is passed on byte by byte, so that
streams and connections that are taken over are as they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import socketserver
import sys
import termios
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.swagger import Contract

_CHUNK = 1 << 16
_KEPT_BYTES = 1 << 20
"""So much of a body is looked at."""
_SWITCHING = 101


class Recorder:
    """`faults` are answers that break the contract; `met` counts what was asked for."""

    def __init__(self, contract: Contract, far: Path) -> None:
        self.contract = contract
        self.far = far
        self.faults: dict[str, str] = {}
        """By fault, the request that met it first."""
        self.met: Counter[str] = Counter()

    def answered(self, method: str, target: str, status: int, body: bytes | None) -> None:
        template = self.contract.template(method, target)
        if template is None:
            self.met[f"{method} {target.partition('?')[0]} {status} (not in the contract)"] += 1
            return
        self.met[f"{method} {template} {status}"] += 1
        if body is not None:
            for fault in self.contract.faults(method, template, status, body):
                self.faults.setdefault(fault, f"{method} {target}")

    @contextmanager
    def listening(self, path: Path) -> Iterator[str]:
        """The address for clients, ``unix://PATH``."""
        recorder = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                _Connection(recorder, self.request).serve()

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        with Server(str(path), Handler) as server:
            serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            serving.start()
            try:
                yield f"unix://{path}"
            finally:
                server.shutdown()
                serving.join()


class _Requests:
    """Callbacks of the parser of what the client sends."""

    def __init__(self, asked: deque[tuple[str, str]]) -> None:
        self._asked = asked
        self._target = b""
        self.parser: Any = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._target = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_headers_complete(self) -> None:
        self._asked.append((self.parser.get_method().decode(), self._target.decode("latin-1")))


class _Answers:
    """Callbacks of the parser of what the agent sends."""

    def __init__(self, recorder: Recorder, asked: deque[tuple[str, str]]) -> None:
        self._recorder = recorder
        self._asked = asked
        self._body = b""
        self._is_json = False
        self._pending = False
        self.is_raw = False
        """The connection has been taken over: nothing that follows is HTTP."""
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self._body, self._is_json = b"", False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._is_json = b"json" in value
            self.is_raw = value.startswith(b"application/vnd.docker.raw")

    def on_headers_complete(self) -> None:
        self._pending = True
        if self.parser.get_status_code() == _SWITCHING:
            self.is_raw = True
            self._tell()

    def on_body(self, body: bytes) -> None:
        if len(self._body) < _KEPT_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        self._tell()

    def ended(self) -> None:
        if self._pending:
            self._tell()

    def _tell(self) -> None:
        if self._pending and self._asked:
            self._pending = False
            method, target = self._asked.popleft()
            body = self._body if self._is_json and method != "HEAD" else None
            self._recorder.answered(method, target, self.parser.get_status_code(), body)


def _await_read(sock: socket.socket) -> None:
    """Until the client has read the head of an answer: what comes next stays apart from it."""
    for _ in range(1000):
        if not int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
            return
        time.sleep(0.0002)


class _Connection:
    def __init__(self, recorder: Recorder, near: socket.socket) -> None:
        asked: deque[tuple[str, str]] = deque()
        self._near = near
        self._far_path = str(recorder.far)
        self._requests = _Requests(asked)
        self._answers = _Answers(recorder, asked)

    def serve(self) -> None:
        with socket.socket(socket.AF_UNIX) as far:
            try:
                far.connect(self._far_path)
            except OSError:
                return  # the client sees a connection that ends
            up = (self._near, far, self._requests.parser)
            going_up = threading.Thread(target=self._pass_on, args=up, daemon=True)
            going_up.start()
            self._pass_on(far, self._near, self._answers.parser)
            self._answers.ended()
            with contextlib.suppress(OSError):
                self._near.shutdown(socket.SHUT_RD)  # nobody answers any more
            going_up.join()

    def _pass_on(self, source: socket.socket, target: socket.socket, parser: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                was_raw = self._answers.is_raw
                if not was_raw:
                    with contextlib.suppress(
                        httptools.HttpParserError, httptools.HttpParserUpgrade
                    ):
                        parser.feed_data(data)
                target.sendall(data)
                if self._answers.is_raw and not was_raw:
                    _await_read(target)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
