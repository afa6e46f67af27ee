"""Requests to the agent, wherever it is, and its answers; all that the command line needs.

It asks for paths and gets plain JSON: `cgagent.client.agent` puts types on top of it.
"""

from __future__ import annotations

import _socket
from time import monotonic

from cgagent.client import compact_json
from cgagent.client.connection import Connection, Socket
from cgagent.errors import (
    HTTP_STATUS,
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
    from typing import Any, Final

    from cgagent.client.connection import Dialled


_OK: Final = range(200, 300)
_AT_ONCE: Final = 50  # as docker has it
_KEPT_S: Final = 20.0
"""A connection that was idle for longer is not used again: the agent closes it after 30 s."""
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
    """A query string of the values that are not None; a list has its name once for each."""
    pairs = [
        f"{name}={_shown(one)}"
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return quote(text) if text else ""


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
        self._used_s = 0.0

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
        except OSError as e:
            sock.close()
            raise UnavailableError(f"{self.path} cannot be an agent's socket: {e}") from None
        return Connection(sock, self._common)

    def request(
        self, method: str, path: str, body: Any = None, *, headers: tuple[str, ...] = ()
    ) -> Any:
        """The answer's JSON; None where it has no body."""
        return self.ask(method, path, body, headers)[0]

    def ask(
        self, method: str, path: str, body: Any = None, headers: tuple[str, ...] = ()
    ) -> tuple[Any, dict[str, str]]:
        """The same, with the answer's headers, their names in lower case."""
        was_kept = self._connection is not None
        try:
            status, answered, data = self._exchange(method, path, body, headers)
        except BaseException as e:
            self.close()  # what still comes would be taken for the next request's answer
            # One that was kept may have been closed just then, for idleness.
            if not isinstance(e, UnavailableError) or method != "GET" or not was_kept:
                raise
            return self.ask(method, path, body, headers)
        if answered.get("connection", "").lower() == "close":
            self.close()
        if status not in _OK:
            raise _error(status, data)
        return (compact_json.loads(data) if data else None), answered

    def _exchange(
        self, method: str, path: str, body: Any, headers: tuple[str, ...]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.keep()
        connection.send(method, path, body, headers)
        status, answered = connection.head()
        data = b"" if status in {204, 304} else b"".join(connection.pieces(answered))
        self._used_s = monotonic()
        return status, answered, data

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
        if self._connection is not None and (
            monotonic() >= self._used_s + _KEPT_S or self._connection.ended()
        ):
            self.close()
        if self._connection is None:
            self._connection = self.connect()
            self._used_s = monotonic()
        return self._connection

    def close(self) -> None:
        """Give the connection up; the next request makes another."""
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def pages(self, path: str) -> Iterator[Any]:
        """What a list has, page by page as the agent has it; `path` with a ``limit``."""
        following: str | None = path
        while following is not None:
            found, headers = self.ask("GET", following)
            yield from found
            following = _next(headers.get("link", ""))

    def server_sent(self, path: str) -> Iterator[Any]:
        """The data of server-sent events, as they come; each is one line of JSON."""
        rest = b""
        for piece in self.download(path, ("Accept: text/event-stream",)):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.startswith(b"data: "):
                    yield compact_json.loads(line.removeprefix(b"data: "))

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

    def download(self, path: str, headers: tuple[str, ...] = ()) -> Iterator[bytes]:
        """A body that is no JSON, as it comes."""
        connection = self.connect()
        with connection.socket:
            connection.send("GET", path, None, headers)
            status, answered = connection.head()
            if status not in _OK:
                raise _error(status, b"".join(connection.pieces(answered)))
            yield from connection.pieces(answered)

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


def _next(link: str) -> str | None:
    """The path of the next page, by a header ``Link``."""
    where, _, relation = link.partition(">")
    return where.removeprefix("<") if 'rel="next"' in relation else None


def _error(status: int, data: bytes) -> CgagentError:
    try:
        return error_of(compact_json.loads(data), status)
    except (ValueError, KeyError, TypeError):
        text = data[:200].decode("utf-8", "replace").strip()
        return from_kind(_kind_of(status), f"the agent answered {status}: {text}")


def error_of(told: dict[str, Any], status: int = 500) -> CgagentError:
    """The error that the agent has told: a problem, or what docker's routes have of one.

    Raises:
        KeyError: it is neither.
    """
    kind = told.get("kind") or _kind_of(status)
    return from_kind(kind, told["detail"] if "detail" in told else told["message"])


def _kind_of(status: int) -> str:
    """The most general one of those that have this status."""
    return next((kind for kind, known in HTTP_STATUS.items() if known == status), "internal")


def exit_code(status: dict[str, Any]) -> int:
    """Of a session, by the status at its end.

    Raises:
        CgagentError: what the status says instead. InternalError: it says nothing at all.
    """
    if "error" in status:
        raise error_of(status["error"])
    if "exit_code" not in status:
        raise InternalError(
            "the session ended without an exit code and without an error; look at the container "
            "with cgagent inspect"
        )
    return int(status["exit_code"])
