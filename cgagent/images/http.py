"""HTTP to a registry: schemes, anonymous tokens, bounded bodies, retries, failures.

Knows nothing of manifests.

httpx's own retries cover connecting only; `tenacity` repeats the rest: 429, 5xx, and a
connection that breaks in the middle of an answer, where a download resumes with a Range request.
Protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md and
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import tenacity

from cgagent import __version__
from cgagent.concurrency import in_thread
from cgagent.errors import (
    CgagentError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    RemoteError,
    UnavailableError,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from cgagent.images.content import BlobWriter
    from cgagent.images.manifest import Descriptor

T = TypeVar("T")

_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0, pool=None)
_ATTEMPTS: Final = 5
_MAX_TOKEN_BYTES: Final = 1 << 20
_WRITE_BYTES: Final = 1 << 20
_TRANSIENT_STATUS: Final = frozenset({408, 429, 500, 502, 503, 504})
_CHALLENGE_PARAMETER: Final = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-")


class _TransientError(Exception):
    """Worth another attempt; carries what to raise after the last one."""

    def __init__(self, error: CgagentError) -> None:
        self.error = error


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a registry's API is. `bases` are URLs tried in order until one connects."""

    shown: str
    bases: tuple[str, ...]
    verify: bool = True

    @classmethod
    def of(cls, address: str, insecure: Sequence[str]) -> Endpoint:
        """`address` is ``HOST[:PORT]`` or a URL."""
        if "://" in address:
            url = address.rstrip("/")
            host = urlsplit(url).netloc
            return cls(host, (url,), verify=not is_insecure(host, insecure))
        if is_insecure(address, insecure):
            return cls(address, (f"https://{address}", f"http://{address}"), verify=False)
        return cls(address, (f"https://{address}",))

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.shown)


def _hostname(address: str) -> str:
    return urlsplit(f"//{address}").hostname or ""


def is_loopback(address: str) -> bool:
    host = _hostname(address)
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def is_insecure(address: str, insecure: Sequence[str]) -> bool:
    """Whether ``HOST[:PORT]`` may be spoken to over plain HTTP; loopback always, as in Docker.

    Networks match addresses that are written as such: names are not looked up.
    """
    host = _hostname(address)
    if is_loopback(address) or address in insecure or host in insecure:
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in insecure:
        with contextlib.suppress(ValueError):
            if ip in ipaddress.ip_network(entry, strict=False):
                return True
    return False


class Repository:
    """One repository at one endpoint, for the time of one pull; an async context manager."""

    def __init__(self, endpoint: Endpoint, path: str, what: str) -> None:
        self._endpoint = endpoint
        self._path = path
        self._what = what
        self._bases = list(endpoint.bases)
        self._authorization: dict[str, str] = {}
        context = ssl.create_default_context()  # the system's certificates, not certifi's
        if not endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._client = httpx.AsyncClient(
            verify=context,
            timeout=_TIMEOUT,
            follow_redirects=True,
            max_redirects=5,
            # Proxies come from the environment, and no proxy can reach this host's loopback.
            trust_env=not endpoint.is_loopback,
            headers={"User-Agent": f"cgagent/{__version__}", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def manifest(
        self, tag_or_digest: str, accept: Sequence[str], limit: int
    ) -> tuple[bytes, str]:
        """The manifest's bytes and the digest the registry says they have, perhaps empty."""
        headers = {"Accept": ", ".join(accept)}

        async def attempt() -> tuple[bytes, str]:
            async with self._get(f"manifests/{tag_or_digest}", headers) as response:
                body = await _body(response, limit, f"{self._what}: its manifest")
                return body, response.headers.get("Docker-Content-Digest", "")

        return await self._retried(attempt)

    async def blob(self, wanted: Descriptor, limit: int) -> bytes:
        """A small blob; the caller verifies the digest."""

        async def attempt() -> bytes:
            async with self._get(f"blobs/{wanted.digest}", {}) as response:
                return await _body(response, limit, f"{self._what}: blob {wanted.digest}")

        return await self._retried(attempt)

    async def download(self, writer: BlobWriter, progress: Callable[[int], None]) -> None:
        """Streams a blob into `writer`, resuming where a connection broke; commits nothing."""

        async def attempt() -> None:
            resumed = {"Range": f"bytes={writer.written}-"} if writer.written else {}
            async with self._get(f"blobs/{writer.digest}", resumed) as response:
                if writer.written and not _continues(response, writer.written):
                    writer.restart()
                async for chunk in response.aiter_raw(_WRITE_BYTES):
                    # whoever is cancelled here closes what is written to
                    await in_thread(partial(_write, writer, chunk))
                    progress(writer.written)
            if writer.written < writer.size:  # a whole answer, unlike a broken connection
                raise RemoteError(
                    f"{self._what}: registry {self._endpoint.shown} has only {writer.written} of "
                    f"the {writer.size} bytes of blob {writer.digest}"
                )

        if writer.size:
            await self._retried(attempt)

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_TransientError),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except _TransientError as e:
            raise e.error from e.__cause__

    @asynccontextmanager
    async def _get(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """A successful answer whose body is still to be read; failures are cgagent's errors."""
        with self._errors():
            response = await self._send(path, headers)
            try:
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    challenge = response.headers.get("WWW-Authenticate", "")
                    await response.aclose()
                    await self._authorize(challenge)
                    response = await self._send(path, headers)
                if not response.is_success:
                    raise await self._failure(response)
                yield response
            finally:
                await response.aclose()

    async def _send(self, path: str, headers: Mapping[str, str]) -> httpx.Response:
        while True:
            url = f"{self._bases[0]}/v2/{self._path}/{path}"
            request = self._client.build_request(
                "GET", url, headers={**headers, **self._authorization}
            )
            try:
                return await self._client.send(request, stream=True)
            except httpx.ConnectError:
                if len(self._bases) == 1:
                    raise
                del self._bases[0]  # no TLS there: plain HTTP is next

    async def _authorize(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_CHALLENGE_PARAMETER.findall(rest))
        realm = parameters.get("realm", "")
        if scheme.lower() != "bearer" or urlsplit(realm).scheme not in ("http", "https"):
            raise self._denied()
        query = {"scope": parameters.get("scope") or f"repository:{self._path}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        async with self._client.stream("GET", realm, params=query) as response:
            if not response.is_success:
                raise await self._failure(response)
            body = await _body(response, _MAX_TOKEN_BYTES, f"{self._what}: its token")
        try:
            found = json.loads(body)
            token = found.get("token") or found["access_token"]
            self._authorization = {"Authorization": f"Bearer {token.encode('ascii').decode()}"}
        except (ValueError, LookupError, AttributeError, RecursionError):
            raise RemoteError(
                f"{self._what}: {urlsplit(realm).netloc} answered with no token"
            ) from None

    async def _failure(self, response: httpx.Response) -> Exception:
        registry, status = self._endpoint.shown, response.status_code
        if status == httpx.codes.NOT_FOUND:
            return NotFoundError(f"{self._what}: not found at registry {registry}")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return self._denied()
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return _TransientError(
                UnavailableError(
                    f"{self._what}: registry {registry} limits the rate of requests: try again "
                    "later"
                )
            )
        said = await _said(response)
        error = RemoteError(f"{self._what}: registry {registry} answered {status}{said}")
        return _TransientError(error) if status in _TRANSIENT_STATUS else error

    def _denied(self) -> DeniedError:
        return DeniedError(
            f"{self._what}: registry {self._endpoint.shown} denies access: it does not exist or "
            "requires a login, and cgagent pulls anonymously"
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        registry = f"registry {self._endpoint.shown}"
        try:
            yield
        except httpx.ConnectTimeout:
            raise UnavailableError(
                f"{self._what}: {registry} does not answer: no connection within "
                f"{_TIMEOUT.connect:.0f} s; check the address and the network"
            ) from None
        except httpx.TimeoutException:
            raise _TransientError(
                DeadlineError(f"{self._what}: {registry} sent nothing for {_TIMEOUT.read:.0f} s")
            ) from None
        except httpx.ConnectError as e:
            raise UnavailableError(
                f"{self._what}: {registry} does not answer: {_cause(e)}; check the address and "
                "the network"
            ) from e
        except httpx.TransportError as e:
            raise _TransientError(
                UnavailableError(f"{self._what}: {registry} broke the connection: {_cause(e)}")
            ) from e
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise RemoteError(f"{self._what}: {registry}: {_cause(e)}") from e


async def _body(response: httpx.Response, limit: int, what: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise RemoteError(f"{what} is longer than {limit} bytes: refused")
    return bytes(body)


async def _said(response: httpx.Response) -> str:
    """The message in a registry's error body, for the end of a line; empty when there is none."""
    try:
        body = json.loads(await _body(response, 1 << 16, "error"))
        message = body["errors"][0]["message"]
    except (CgagentError, httpx.HTTPError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f": {message[:200]!a}" if isinstance(message, str) else ""


def _continues(response: httpx.Response, offset: int) -> bool:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return (
        response.status_code == httpx.codes.PARTIAL_CONTENT
        and match is not None
        and int(match[1]) == offset
    )


def _write(writer: BlobWriter, chunk: bytes, _stop: threading.Event) -> None:
    writer.write(chunk)


def _cause(error: BaseException) -> str:
    """What the kernel or OpenSSL said at the bottom of a chain of exceptions."""
    deepest = error
    while (inner := deepest.__cause__ or deepest.__context__) is not None:
        deepest = inner
    if isinstance(deepest, BaseExceptionGroup):
        deepest = deepest.exceptions[0]
    if isinstance(deepest, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {deepest.verify_message}"
    if isinstance(deepest, ConnectionError) and deepest.errno:
        text = os.strerror(deepest.errno)  # asyncio puts the address into its own text
    else:
        text = getattr(deepest, "strerror", None) or str(deepest) or type(deepest).__name__
    return text[0].lower() + text[1:]
