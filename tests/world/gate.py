"""A port in front of another one, whose connections break, hang or are refused as a test says."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 16


class Gate:
    """`cut` gives, for each connection, after how many bytes of answer it breaks; None: never."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut: Callable[[], int | None] = lambda: None
        self.cut_requests: Callable[[], int | None] = lambda: None
        self.away_until_s = 0.0
        self.silent = False
        self.drip_s = 0.0
        """Answers come a byte at a time, so many seconds apart."""
        self.connections = 0
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._ended = False

    def serve(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if time.monotonic() < self.away_until_s:
                near.close()
                continue
            thread = threading.Thread(target=self._serve_one, args=(near,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve_one(self, near: socket.socket) -> None:
        self._open.append(near)
        if self.silent:
            return
        with suppress(OSError), socket.create_connection(self._target) as far:
            self._open.append(far)
            up = threading.Thread(
                target=self._pass_on, args=(near, far, self.cut_requests()), daemon=True
            )
            up.start()
            self._pass_on(far, near, self.cut(), dripping=True)
            up.join(5)
        near.close()

    def _pass_on(
        self,
        source: socket.socket,
        to: socket.socket,
        left: int | None,
        *,
        dripping: bool = False,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if left is not None and len(data) >= left:
                    to.sendall(data[:left])
                    for end in (source, to):
                        end.shutdown(socket.SHUT_RDWR)
                    return
                if dripping and self.drip_s:
                    self._drip(to, data)
                else:
                    to.sendall(data)
                left = None if left is None else left - len(data)
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def _drip(self, to: socket.socket, data: bytes) -> None:
        for n in range(len(data)):
            to.sendall(data[n : n + 1])
            time.sleep(self.drip_s)

    def end(self) -> None:
        self._ended = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            one.close()


@contextmanager
def gate(target: str) -> Iterator[Gate]:
    """`target` is ``HOST:PORT``."""
    made = Gate(target)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join(5)
