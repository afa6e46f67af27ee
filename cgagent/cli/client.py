"""The HTTP client: HTTP/1.1 over a unix socket, as small as the agent needs it.

The standard library's http.client takes 22 ms to import, httpx 110; a whole ``cgagent run`` is to
take less. This speaks to one server only, ours.
"""

from __future__ import annotations

import _socket

from cgagent.cli import compact_json
from cgagent.errors import (
    CgagentError,
    DeniedError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    from_kind,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Final, Self

    Dialled = tuple["Socket", Callable[[], str]]
    """A connection, and what tells why it has ended, if anything is known."""


_OK: Final = range(200, 300)
_DOCKERS_KINDS: Final = {400: "invalid_input", 403: "denied", 404: "not_found", 409: "conflict"}
_AT_ONCE: Final = 50  # as docker has it
_HUNG_UP: Final = "the agent closed the connection; see its log"
_UNRESERVED: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:@"
)


def quote(text: str) -> str:
    """Percent-encode what may not stand in a path.

    Raises:
        InvalidInputError: there is nothing, which would make it another path.
    """
    if not text:
        raise InvalidInputError("an empty name names nothing")
    return "".join(c if c in _UNRESERVED else _percent(c) for c in text)


def _percent(character: str) -> str:
    """The bytes of an argument that is not UTF-8 are themselves."""
    return "".join(f"%{b:02X}" for b in character.encode("utf-8", "surrogateescape"))


def query(**values: Any) -> str:
    """A query string of the values that are not None."""
    shown = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in values.items()}
    pairs = [
        f"{k}={quote(shown[k]) if shown[k] else ''}" for k, v in values.items() if v is not None
    ]
    return "?" + "&".join(pairs) if pairs else ""


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
        from select import select

        view = memoryview(data)
        while view:
            answered, _, _ = select([self.socket], [self.socket], [])
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
        status = int(self._line().split(b" ", 2)[1])
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


class Client:
    """The agent, seen from here. Every method raises the error that the agent answers."""

    def __init__(
        self,
        path: str,
        dial: Callable[[], Dialled] | None = None,
        common: tuple[str, ...] = ("Host: cgagent",),
    ) -> None:
        """`path` of the agent's socket, or `dial` what connects to one that is elsewhere."""
        self.path = path
        self._dial = dial
        self._common = common
        self._connection: Connection | None = None

    def another(self) -> Client:
        """One of the same agent, with connections of its own."""
        return Client(self.path, self._dial, self._common)

    def connect(self) -> Connection:
        """A connection of its own.

        Raises:
            UnavailableError: nobody listens.
            DeniedError: not for this user.
        """
        if self._dial is not None:
            sock, explain = self._dial()
            return Connection(sock, self._common, explain)
        sock = Socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            raise UnavailableError(
                f"no agent listens on {self.path}; start one with cgagent serve"
            ) from None
        except PermissionError:
            sock.close()
            raise DeniedError(
                f"the agent's socket {self.path} is closed to this user: permission denied; root "
                "can let them in with usermod -aG cgagent USER, from their next login on"
            ) from None
        return Connection(sock, self._common)

    def request(
        self, method: str, path: str, body: Any = None, *, headers: tuple[str, ...] = ()
    ) -> Any:
        """The answer's JSON; None where it has no body."""
        was_kept = self._connection is not None
        connection = self.keep()
        try:
            connection.send(method, path, body, headers)
            status, answered = connection.head()
        except UnavailableError:
            self.close()
            if method != "GET" or not was_kept:  # else it was closed just then, for idleness
                raise
            return self.request(method, path, body, headers=headers)
        data = b"" if status in {204, 304} else b"".join(connection.pieces(answered))
        if answered.get("connection", "").lower() == "close":
            self.close()
        if status not in _OK:
            raise _error(status, data)
        return compact_json.loads(data) if data else None

    def requests(
        self, method: str, names: Iterable[str], path: Callable[[str], str]
    ) -> Iterator[Any]:
        """The answer for each name, or its error, in their order. Many are asked at a time."""
        waiting: list[Connection | CgagentError] = []
        for name in names:
            waiting.append(self._asked(method, name, path))
            if len(waiting) == _AT_ONCE:
                yield self._answer(waiting.pop(0))
        for one in waiting:
            yield self._answer(one)

    def _asked(
        self, method: str, name: str, path: Callable[[str], str]
    ) -> Connection | CgagentError:
        try:
            where = path(name)
            connection = self.connect()
            connection.send(method, where, None)
        except CgagentError as e:
            return e
        return connection

    @staticmethod
    def _answer(connection: Connection | CgagentError) -> Any:
        if isinstance(connection, CgagentError):
            return connection
        with connection.socket:
            try:
                status, headers = connection.head()
                data = b"" if status in {204, 304} else b"".join(connection.pieces(headers))
            except CgagentError as e:
                return e
        if status not in _OK:
            return _error(status, data)
        return compact_json.loads(data) if data else None

    def keep(self) -> Connection:
        """The connection of the last request, unless the agent has closed it meanwhile.

        Raises: as `connect`.
        """
        if self._connection is not None and self._connection.ended():
            self.close()
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def close(self) -> None:
        """Give the connection up; the next request makes another."""
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def lines(
        self, method: str, path: str, body: Any = None, headers: tuple[str, ...] = ()
    ) -> Iterator[Any]:
        """A stream of JSON lines, as they come."""
        for batch in self.batches(method, path, body, headers):
            yield from batch

    def batches(
        self, method: str, path: str, body: Any = None, headers: tuple[str, ...] = ()
    ) -> Iterator[list[Any]]:
        """The same, those together that come together."""
        connection = self.connect()
        with connection.socket:
            connection.send(method, path, body, headers)
            yield from _batches(connection)

    def sent(self, path: str, pieces: Iterator[bytes]) -> Iterator[Any]:
        """A POST whose body is a tar; the answer's JSON lines as they come."""
        connection = self.connect()
        with connection.socket:
            connection.send_stream("POST", path, pieces)
            for batch in _batches(connection):
                yield from batch

    def head(self, path: str) -> dict[str, str]:
        """The headers alone: an error has no message of the agent's."""
        connection = self.connect()
        with connection.socket:
            connection.send("HEAD", path, None)
            status, headers = connection.head()
        if status == 404:  # noqa: PLR2004 - Not Found
            raise NotFoundError("the agent does not have it")
        if status not in _OK:
            raise _error(status, b"")
        return headers

    def download(self, path: str) -> Iterator[bytes]:
        """A body that is no JSON, as it comes."""
        connection = self.connect()
        with connection.socket:
            connection.send("GET", path, None)
            status, headers = connection.head()
            if status not in _OK:
                raise _error(status, b"".join(connection.pieces(headers)))
            yield from connection.pieces(headers)

    def upload(self, path: str, pieces: Iterator[bytes]) -> None:
        """Send a tar stream."""
        connection = self.connect()
        with connection.socket:
            connection.send_stream("PUT", path, pieces)
            status, headers = connection.head()
            if status not in _OK:
                raise _error(status, b"".join(connection.pieces(headers)))

    def upgrade(self, path: str, body: Any = None) -> Connection:
        """A connection that has become the container's input and output."""
        connection, self._connection = self.keep(), None
        try:
            connection.send("POST", path, body, ("Connection: Upgrade", "Upgrade: tcp"))
            status, headers = connection.head()
        except BaseException:
            connection.socket.close()
            raise
        if status != 101:  # noqa: PLR2004 - Switching Protocols
            with connection.socket:
                raise _error(status, b"".join(connection.pieces(headers)))
        connection.location = headers.get("location", "")
        return connection


def _batches(connection: Connection) -> Iterator[list[Any]]:
    """JSON lines as they come."""
    status, headers = connection.head()
    if status not in _OK:
        raise _error(status, b"".join(connection.pieces(headers)))
    rest = b""
    for piece in connection.pieces(headers):
        *whole, rest = (rest + piece).split(b"\n")
        if whole:
            yield compact_json.loads(b"[%b]" % b",".join(whole))


def _error(status: int, data: bytes) -> CgagentError:
    try:
        value = compact_json.loads(data)
        kind = value.get("kind") or _DOCKERS_KINDS.get(status, "")  # docker's routes have none
        return from_kind(kind, value["message"])
    except (ValueError, KeyError, TypeError):
        return InternalError(
            f"the agent answered {status}: {data[:200].decode('utf-8', 'replace')}"
        )
