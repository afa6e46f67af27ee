"""Requests to one registry: schemes, proxies, redirects, logins, and what failures mean.

Everything here blocks and belongs into a thread. It knows nothing of manifests. A request is tried
once; `Patience` is for those who repeat them.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3 import exceptions
from urllib3.util import parse_url

from cgagent import __version__
from cgagent.errors import (
    CgagentError,
    DeadlineError,
    NotFoundError,
    RemoteError,
    UnavailableError,
)
from cgagent.images.distribution.access import Access, Answer, challenges
from cgagent.images.distribution.endpoints import is_loopback
from cgagent.images.distribution.patience import TransientError, asked_seconds
from cgagent.images.distribution.sockets import (
    CONNECT_S,
    SILENCE_S,
    SLOW_BYTES_S,
    TooSlowError,
    pools,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cgagent.images.distribution.credentials import Credentials
    from cgagent.images.distribution.endpoints import Endpoint
    from cgagent.images.distribution.trust import Certificates, Trust

    Body = Callable[[], bytes | Iterable[bytes]] | None
    """Makes a request's body; once more for each time it is sent."""

Response = urllib3.BaseHTTPResponse

_MAX_REDIRECTS: Final = 5
_MAX_TOKEN_BYTES: Final = 1 << 20
_MAX_ERROR_BYTES: Final = 1 << 16
_CONNECTIONS: Final = 8
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_TRANSIENT: Final = frozenset({408, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SUCCESS: Final = range(200, 300)
_READ_BYTES: Final = 1 << 18
_TOO_SLOW: Final = f"is slower than {SLOW_BYTES_S} bytes a second: given up"
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, before it is known where it goes in the end and with which login."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body = None
    verified: bool = False


class Registry:
    """One registry for the time of one job; a context manager, which closes its connections."""

    def __init__(
        self, endpoint: Endpoint, what: str, trust: Trust, credentials: Credentials
    ) -> None:
        """`what` is what the job is about, for messages."""
        self.endpoint = endpoint
        self.what = what
        self.shown = endpoint.host
        self._trust = trust
        self._pools: dict[tuple[Certificates, str | None], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._bases = list(endpoint.bases)
        self._certificates = trust.certificates(endpoint.host, verify=endpoint.verify)
        if self._certificates.verify and not endpoint.verify:  # it has a certificate of its own
            self._bases = [b for b in self._bases if b.startswith("https:")] or self._bases
        self._has_answered = False
        self.access = Access(what, endpoint.host, credentials, self._ask_token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._pools.values():
            one.clear()

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        scopes: tuple[str, ...] = (),
        expected: Iterable[int] = _SUCCESS,
        verified: bool = False,
    ) -> Iterator[Response]:
        """An answer whose body is still to be read. `url` is a path, or a whole URL.

        A body that its reader has `verified` by digest may come from a host without TLS, as far as
        the registry refers to one.

        Raises:
            TransientError: worth another attempt.
            NotFoundError, DeniedError, RemoteError, UnavailableError, DeadlineError
        """
        with self._errors():
            call = _Call(method, url, headers or {}, body, verified)
            response = self._authorized(call, scopes)
            try:
                if response.status not in expected:
                    raise self._failure(response)
                yield response
                if response.length_remaining == 0:
                    response.drain_conn()
                    response.release_conn()
            finally:
                response.close()  # what is left of an answer is not worth reading for a connection

    def read(self, response: Response, limit: int, what: str) -> bytes:
        """A small body. The connection may be used again."""
        body = bytearray()
        while chunk := response.read(min(_READ_BYTES, limit + 1)):
            body += chunk
            if len(body) > limit:
                raise RemoteError(f"{self.what}: {what} is longer than {limit} bytes: refused")
        response.release_conn()
        return bytes(body)

    def _authorized(self, call: _Call, scopes: tuple[str, ...]) -> Response:
        shown = self.access.header(scopes)
        response, asked = self._followed(call, shown)
        # a host that the registry refers to may not say where its logins go
        if response.status != _UNAUTHORIZED or not self._is_own(asked):
            return response
        found = challenges(response.headers.getlist("WWW-Authenticate"))
        _let_go(response)
        answer = self.access.answer(
            found, scopes, shown, plain_is_fine=not self._certificates.verify
        )
        response, _ = self._followed(call, answer)
        if response.status == _UNAUTHORIZED:
            response.close()
            raise self.access.denied()
        return response

    def _followed(self, call: _Call, authorization: str | None) -> tuple[Response, str]:
        """After redirects, and from where.

        The login goes to the registry itself alone: same scheme, host, port.
        """
        response = None
        where = call.url if "://" in call.url else ""
        for _ in range(_MAX_REDIRECTS + 1):
            if not where:
                response, where = self._from_base(call, authorization)
            else:
                own = self._is_own(where)
                response = self._send(call, where, authorization if own else None)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response, where
            _let_go(response)
            where = self._joined(where, target, verified=call.verified)
        raise RemoteError(
            f"{self.what}: registry {self.shown} redirects more than {_MAX_REDIRECTS} times"
        )

    def _from_base(self, call: _Call, authorization: str | None) -> tuple[Response, str]:
        """The answer and the whole URL. TLS comes first; plain HTTP where it may be."""
        while True:
            with self._lock:
                base = self._bases[0]
            try:
                response = self._send(call, base + call.url, authorization)
            except (
                exceptions.NewConnectionError,
                exceptions.ProtocolError,
                exceptions.ProxyError,
                exceptions.SSLError,
            ):
                with self._lock:
                    if self._bases[0] == base:  # else another thread was here first
                        if self._has_answered or len(self._bases) == 1:
                            raise
                        del self._bases[0]
                continue
            with self._lock:
                self._has_answered = True
            return response, base + call.url

    def absolute(self, location: str) -> str:
        """The URL in a header Location."""
        return self._joined(self._bases[0] + "/", location, verified=False)

    def _joined(self, base: str, location: str, *, verified: bool) -> str:
        """Any host; not from TLS to none, but for what is verified by its digest."""
        scheme = url = ""
        with contextlib.suppress(ValueError):
            url = urljoin(base, location)
            scheme = urlsplit(url).scheme
        if scheme not in _PORTS:
            raise RemoteError(f"{self.what}: registry {self.shown} redirects to {location[:80]!r}")
        is_downgrade = scheme == "http" and urlsplit(base).scheme == "https"
        if is_downgrade and self._certificates.verify and not verified:
            raise RemoteError(
                f"{self.what}: registry {self.shown} redirects from TLS to plain "
                f"{location[:80]!r}: refused, since anybody on the way could answer; a proxy in "
                "front of it must tell it of TLS (X-Forwarded-Proto)"
            )
        return url

    def _is_own(self, url: str) -> bool:
        return _address(url) == _address(self._bases[0])

    def _send(self, call: _Call, url: str, authorization: str | None = None) -> Response:
        every = {"User-Agent": f"cgagent/{__version__}", "Accept-Encoding": "identity"}
        login = {"Authorization": authorization} if authorization else {}
        return self._pool(url).urlopen(
            call.method,
            url,
            body=None if call.body is None else call.body(),
            headers={**every, **call.headers, **login},
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = parse_url(url)
        host = parts.netloc or ""
        certificates = self._certificates
        if host != self.shown and parts.scheme == "https" and not self._is_own(url):
            own = self._trust.certificates(host, verify=True)
            certificates = own if own.authorities else certificates.for_another_host()
        key = certificates, _proxy(parts.scheme or "", host)
        with self._lock:
            if key not in self._pools:
                is_tls = parts.scheme == "https" or (key[1] or "").startswith("https:")
                context = self._trust.context(certificates) if is_tls else None
                self._pools[key] = pools(context, key[1], connections=_CONNECTIONS)
            return self._pools[key]

    def _ask_token(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        made = None if body is None else lambda: body
        response = self._send(_Call(method, url, headers, made), url)
        try:
            if response.status in _TRANSIENT or response.status == _TOO_MANY:
                raise self._failure(response)
            return Answer(response.status, self.read(response, _MAX_TOKEN_BYTES, "its token"))
        finally:
            response.close()

    # -- failures -----------------------------------------------------------------------------

    def _failure(self, response: Response) -> Exception:
        status = response.status
        if status == _NOT_FOUND:
            return NotFoundError(f"{self.what}: not found at registry {self.shown}")
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return self.access.denied()
        asked_s = asked_seconds(response.headers.get("Retry-After"))
        said = _said(response)
        if status == _TOO_MANY:
            return TransientError(
                UnavailableError(
                    f"{self.what}: registry {self.shown} limits the rate of requests{said}: try "
                    "again later, or log in where that raises the limit"
                ),
                asked_s,
            )
        error = RemoteError(f"{self.what}: registry {self.shown} answered {status}{said}")
        return TransientError(error, asked_s) if status in _TRANSIENT else error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        registry = f"{self.what}: registry {self.shown}"
        try:
            yield
        except (exceptions.ConnectTimeoutError, exceptions.NewConnectionError) as e:
            silent = type(e) is exceptions.ConnectTimeoutError
            cause = f"no connection within {CONNECT_S:.0f} s" if silent else _cause(e)
            error = UnavailableError(
                f"{registry} does not answer: {cause}; check the address and the network"
            )
            raise (TransientError(error) if self._has_answered else error) from None
        except exceptions.ReadTimeoutError as e:
            if _is_too_slow(e):
                raise DeadlineError(f"{registry} {_TOO_SLOW}") from None
            silence_s = SILENCE_S if self._has_answered else CONNECT_S
            raise DeadlineError(f"{registry} sent nothing for {silence_s:.0f} s") from None
        except (exceptions.SSLError, exceptions.ProxyError) as e:
            error = UnavailableError(f"{registry} does not answer: {_cause(e)}")
            raise (TransientError(error) if self._has_answered else error) from e
        except (exceptions.ProtocolError, exceptions.TimeoutError, OSError) as e:
            if _is_too_slow(e):  # within a request
                raise DeadlineError(f"{registry} {_TOO_SLOW}") from None
            raise TransientError(
                UnavailableError(f"{registry} broke the connection: {_cause(e)}")
            ) from e
        except exceptions.HTTPError as e:
            raise RemoteError(f"{registry}: {_cause(e)}") from e


def _let_go(response: Response) -> None:
    """Of an answer whose body says nothing: a short one is worth reading for its connection."""
    with contextlib.suppress(exceptions.HTTPError, OSError):
        left = _MAX_ERROR_BYTES
        while left > 0 and (chunk := response.read(left)):
            left -= len(chunk)
        if left > 0:
            response.release_conn()
            return
    response.close()


def _address(url: str) -> tuple[str | None, str | None, int | None]:
    """Scheme, host and port as urllib3 reads them, which sends what is meant for them."""
    found = parse_url(url)
    return found.scheme, found.host, found.port or _PORTS.get(found.scheme or "")


def _proxy(scheme: str, netloc: str) -> str | None:
    """As HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say. None reaches this host's loopback."""
    found = getproxies_environment()
    if is_loopback(netloc) or proxy_bypass(netloc, found):
        return None
    proxy = found.get(scheme) or found.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy


def _said(response: Response) -> str:
    """The message in a registry's error body, for the end of a line; empty when there is none."""
    try:
        body = json.loads(response.read(_MAX_ERROR_BYTES))
        message: Any = body["errors"][0]["message"]
    except (CgagentError, exceptions.HTTPError, OSError, ValueError, LookupError, TypeError):
        return ""
    except RecursionError:
        return ""
    return f": {message[:200]!a}" if isinstance(message, str) else ""


def _is_too_slow(error: BaseException) -> bool:
    return isinstance(_deepest(error), TooSlowError)


def _deepest(error: BaseException) -> BaseException:
    """The bottom of a chain of exceptions."""
    while True:
        inner = error.__cause__ or error.__context__
        inner = inner or next((a for a in error.args if isinstance(a, BaseException)), None)
        if inner is None:
            return error
        error = inner


def _cause(error: BaseException) -> str:
    """What the kernel or OpenSSL said at the bottom of a chain of exceptions."""
    deepest = _deepest(error)
    if isinstance(deepest, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {deepest.verify_message}"
    if isinstance(deepest, ssl.SSLError) and "CERTIFICATE" in str(deepest.reason):
        return "it wants another client certificate: certs.d/HOST[:PORT]/*.cert and *.key"
    text = None
    if isinstance(deepest, OSError) and deepest.errno and not isinstance(deepest, ssl.SSLError):
        with contextlib.suppress(ValueError):
            text = os.strerror(deepest.errno) if deepest.errno > 0 else deepest.strerror
    text = text or getattr(deepest, "strerror", None) or str(deepest) or type(deepest).__name__
    return text[0].lower() + text[1:]
