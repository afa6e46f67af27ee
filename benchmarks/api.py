"""A plain HTTP client for an engine's unix socket: what a start costs without a command line."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import TYPE_CHECKING, Any

from benchmarks.process import Failure

if TYPE_CHECKING:
    from pathlib import Path


_KEPT_S = 10.0


class UnixConnection(http.client.HTTPConnection):
    """One kept-alive connection to a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path
        self._last_s = 0.0

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON object, empty when it has none."""
        payload = None if body is None else json.dumps(body)
        if self._last_s + _KEPT_S < time.monotonic():
            self.close()  # the server has closed it too, or is about to
        self._last_s = time.monotonic()
        try:
            self.request(method, path, payload, {"Content-Type": "application/json"})
            answer = self.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failure(f"{method} {path}: {error}") from None
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Failure(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return json.loads(content) if content.strip() else {}

    def stream(self, path: str, body: dict[str, Any]) -> bytes:
        """What a connection carries that the answer has made a stream, until its end."""
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(self.timeout)
            try:
                sock.connect(str(self._path))
                sock.sendall(head.encode() + data)
                received = b""
                while piece := sock.recv(65536):
                    received += piece
            except OSError as error:
                raise Failure(f"POST {path}: {error}") from None
        head_of_answer, _, rest = received.partition(b"\r\n\r\n")
        if not head_of_answer.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
            raise Failure(f"POST {path}: {received.decode(errors='replace')}")
        return rest
