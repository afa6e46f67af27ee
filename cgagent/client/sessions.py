"""A command's input and output, for programs: attach and exec without a terminal of theirs."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from cgagent.client.connection import STATUS, STDERR, Frames, ready, received
from cgagent.client.http import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.client.connection import Connection

_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of output, as it came; it may end anywhere."""

    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended, and all that it said."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Session:
    """A connection to a command. Iterate over its output, then ask for its `exit_code`.

    A command that says much while nobody iterates waits, and so does `write` then; `communicate`
    does both at once. Leaving the context hangs up: a command goes on without.
    """

    def __init__(self, connection: Connection) -> None:
        self.location = connection.location
        """The path of what it is connected to, where the agent tells it."""
        self._sock = connection.socket
        self._frames = Frames(connection.rest())
        self._status: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    def __iter__(self) -> Iterator[Output]:
        """Until the command has ended.

        Raises:
            UnavailableError: the connection ended before.
        """
        while self._status is None:
            yield from self._whole_frames()
            if self._status is None:
                self._receive()

    def write(self, data: bytes) -> None:
        """To its standard input."""
        self._sock.sendall(data)

    def close_input(self) -> None:
        """Its standard input ends here."""
        self._sock.shutdown(socket.SHUT_WR)

    @property
    def exit_code(self) -> int:
        """Of the command, which is waited for; output that nobody has taken so far is lost.

        Raises:
            CgagentError: it could not be started, or it is not known how it ended.
        """
        for _ in self:
            pass
        assert self._status is not None  # noqa: S101 - else the iteration goes on
        return exit_code(self._status)

    def communicate(self, data: bytes = b"") -> Completed:
        """Give it all of its input and take all of its output. Raises as `exit_code`."""
        said: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._sock.setblocking(False)
        try:
            self._feed(memoryview(data), said)
        finally:
            self._sock.setblocking(True)
        return Completed(self.exit_code, b"".join(said["stdout"]), b"".join(said["stderr"]))

    def _feed(self, left: memoryview, said: dict[str, list[bytes]]) -> None:
        is_open = True
        while True:
            for piece in self._whole_frames():
                said[piece.stream].append(piece.data)
            if self._status is not None:
                return
            if is_open and not left:
                is_open = False
                with contextlib.suppress(OSError):  # as in `_send`
                    self.close_input()
            readable, writable = ready(self._sock, to_send=bool(left))
            if writable:
                left = left[self._send(left) :]
            if readable:
                self._receive()

    def _send(self, data: memoryview) -> int:
        """How much of it is done with: all, if the command takes no more."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the command has ended; its status is on the way
            return len(data)

    def _receive(self) -> None:
        data = received(self._sock, _CHUNK)
        if data is not None:
            self._frames.feed(data)

    def _whole_frames(self) -> Iterator[Output]:
        for number, payload in self._frames:
            if number == STATUS:
                self._status = json.loads(payload)
                return
            yield Output("stderr" if number == STDERR else "stdout", payload)
