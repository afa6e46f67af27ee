"""One connection to the agent: HTTP/1.1, as small as the agent needs it.

The standard library's http.client takes 22 ms to import, httpx 110; a whole ``cgagent run`` is to
take less. This speaks to one server only, ours.
"""

from __future__ import annotations

import _socket

from cgagent.client import compact_json
from cgagent.errors import UnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final, Self

    Dialled = tuple["Socket", Callable[[], str]]
    """A connection, and what tells why it has ended, if anything is known."""


STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
"""The streams of a `Frames`; the status is JSON, and the last one."""
_FRAME_HEAD: Final = 8
_SHOWN: Final = 60
_HUNG_UP: Final = "the agent closed the connection; see its log"


class Socket(_socket.socket):
    """The C class alone: `socket` brings enum and selectors, 5 ms that nothing here needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Connection:
    """One connection; requests one after the other."""

    def __init__(
        self,
        sock: Socket,
        common: tuple[str, ...] = ("Host: cgagent",),
        explain: Callable[[], str] = lambda: "",
    ) -> None:
        """`common` are headers of every request."""
        self.socket = sock
        self._common = common
        self._explain = explain
        self.location = ""
        """Of one that was upgraded: the path of what it is connected to, if the agent told it."""
        self._buffer = b""

    def ended(self) -> bool:
        """Has the other end hung up? Between two requests nothing else can be there to read."""
        try:
            return self.socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def wait_for_end(self) -> None:
        """Until the other end hangs up; what still comes is of no interest."""
        self.socket.setblocking(True)
        try:
            while self.socket.recv(4096):
                pass
        except OSError:  # as good an end
            return

    def send(self, method: str, path: str, body: Any, headers: tuple[str, ...] = ()) -> None:
        data = b"" if body is None else compact_json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            *self._common,
            *headers,
            *(["Content-Type: application/json"] if data else []),
            f"Content-Length: {len(data)}",
        ]
        self._start(lines, data)

    def send_stream(self, method: str, path: str, pieces: Iterator[bytes]) -> None:
        """A request whose body comes in pieces; cut short when the answer comes before its end."""
        self._start(
            [
                f"{method} {path} HTTP/1.1",
                *self._common,
                "Content-Type: application/x-tar",
                "Transfer-Encoding: chunked",
            ]
        )
        self.socket.setblocking(False)
        try:
            for piece in pieces:
                if piece and not self._offer(b"%x\r\n%b\r\n" % (len(piece), piece)):
                    return
            self._offer(b"0\r\n\r\n")
        finally:
            self.socket.setblocking(True)

    def _offer(self, data: bytes) -> bool:
        """Send it all, unless the other end answers first."""
        view = memoryview(data)
        while view:
            answered, _ = ready(self.socket, to_send=True)
            if answered:
                return False
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                continue
            except ConnectionError:
                return False
        return True

    def _start(self, lines: list[str], data: bytes = b"") -> None:
        try:
            self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        except ConnectionError:
            raise self.hung_up() from None

    def hung_up(self) -> UnavailableError:
        """The error for a connection that has ended too early, with the cause if it is known."""
        return UnavailableError(self._explain() or _HUNG_UP)

    def _more(self) -> None:
        try:
            data = self.socket.recv(256 * 1024)
        except ConnectionError:
            data = b""
        if not data:
            raise self.hung_up()
        self._buffer += data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers, the names in lower case."""
        line = self._line()
        try:
            status = int(line.split(b" ", 2)[1])
        except (IndexError, ValueError):
            raise UnavailableError(
                f"no agent answers there, but something else: {line[:_SHOWN]!r}"
            ) from None
        headers = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def pieces(self, headers: dict[str, str]) -> Iterator[bytes]:
        """The body, as it comes."""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                while size:
                    if not self._buffer:
                        self._more()
                    data, self._buffer = self._buffer[:size], self._buffer[size:]
                    size -= len(data)
                    yield data
                self._line()
            self._line()
        else:
            yield self._take(int(headers.get("content-length", "0")))

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def rest(self) -> bytes:
        """What was read beyond the last answer."""
        data, self._buffer = self._buffer, b""
        return data


def received(sock: _socket.socket, most: int) -> bytes | None:
    """The next bytes of a container's session; None: there are none yet.

    Raises:
        UnavailableError: the connection has ended.
    """
    try:
        data: bytes = sock.recv(most)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        data = b""
    if not data:
        raise UnavailableError("the connection to the container ended without its exit code")
    return data


def ready(sock: _socket.socket, *, to_send: bool) -> tuple[bool, bool]:
    """Wait until there is something to receive, or it is to send and can; which of both.

    A program may have so many descriptors that select(2) knows no number of a further one.
    """
    from select import POLLIN, POLLOUT, poll

    waiting = poll()
    waiting.register(sock, POLLIN | POLLOUT if to_send else POLLIN)
    ((_, found),) = waiting.poll()
    return bool(found & ~POLLOUT), bool(found & POLLOUT)


class Frames:
    """What comes down a connection that was taken over, in frames of any number of streams."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """The number of a stream and what it says, as far as whole frames are there."""
        while len(self._data) >= _FRAME_HEAD:
            end = _FRAME_HEAD + int.from_bytes(self._data[4:_FRAME_HEAD], "big")
            if len(self._data) < end:
                return
            stream, payload = self._data[0], bytes(self._data[_FRAME_HEAD:end])
            del self._data[:end]
            yield stream, payload
