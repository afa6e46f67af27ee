"""What a registry's demand to log in is answered with: Basic, or a Bearer token from its service.

https://distribution.github.io/distribution/spec/auth/token/ and .../auth/oauth/
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from cgagent.errors import DeniedError, RemoteError
from cgagent.images.distribution.endpoints import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cgagent.images.distribution.credentials import Credentials

_CLIENT: Final = "cgagent"
_CHALLENGE: Final = re.compile(r"(?:^|,)\s*(?P<scheme>basic|bearer)\b", re.IGNORECASE)
_PARAMETER: Final = re.compile(r'(?<![a-zA-Z_])([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^",\s]+))')
_NO_OAUTH: Final = frozenset({400, 401, 404, 405})
"""Services without OAuth's POST answer so."""


class Answer(NamedTuple):
    """What a token service said."""

    status: int
    body: bytes


class Challenge(NamedTuple):
    scheme: str
    """In lower case."""
    parameters: Mapping[str, str]


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """The ones we know among the values of WWW-Authenticate headers."""
    found = []
    for header in headers:
        starts = list(_CHALLENGE.finditer(header))
        for n, start in enumerate(starts, 1):
            end = starts[n].start() if n < len(starts) else len(header)
            text = header[start.end() : end]
            parameters = {m[1].lower(): m[2] or m[3] or "" for m in _PARAMETER.finditer(text)}
            found.append(Challenge(start["scheme"].lower(), parameters))
    return found


class Access:
    """Of one registry, for the time of one job; its tokens are kept by what they are for."""

    def __init__(
        self,
        what: str,
        registry: str,
        credentials: Credentials,
        ask: Callable[[str, str, Mapping[str, str], bytes | None], Answer],
    ) -> None:
        """`ask` sends a request to a token service: method, URL, headers, body."""
        self._what = what
        self._registry = registry
        self._credentials = credentials
        self._ask = ask
        self._lock = threading.Lock()
        self._basic: str | None = None
        self._tokens: dict[tuple[str, ...], str] = {}
        if credentials.registry_token:
            self._basic = f"Bearer {credentials.registry_token}"
        self.identity_token = ""
        """What the service gave to be used instead of the password."""

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """The value of Authorization as it is known so far."""
        return self._basic or self._tokens.get(scopes)

    def answer(
        self,
        found: Sequence[Challenge],
        scopes: tuple[str, ...],
        refused: str | None,
        *,
        plain_is_fine: bool,
    ) -> str:
        """The value of Authorization after a 401 to `refused`.

        Raises:
            DeniedError: there is nothing that would be accepted.
            RemoteError: the token service is no such thing.
        """
        with self._lock:
            current = self.header(scopes)
            if current not in (None, refused):  # another thread was here first
                return str(current)
            by_scheme = {challenge.scheme: challenge for challenge in reversed(found)}
            if "bearer" in by_scheme and not self._credentials.registry_token:
                realm = by_scheme["bearer"].parameters
                token = self._token(realm, scopes, plain_is_fine=plain_is_fine)
                self._tokens[scopes] = f"Bearer {token}"
                return self._tokens[scopes]
            if "basic" in by_scheme and self._credentials.username and self._basic is None:
                self._basic = self._credentials.basic
                return self._basic
            raise self.denied()

    def denied(self) -> DeniedError:
        if self._credentials:
            who = self._credentials.username or "this login"
            return DeniedError(
                f"{self._what}: registry {self._registry} denies access to {who}: it does not "
                "exist or needs other rights"
            )
        return DeniedError(
            f"{self._what}: registry {self._registry} denies access: it does not exist or "
            f"requires a login; 'cgagent login {self._registry}' keeps one"
        )

    def _token(
        self, realm: Mapping[str, str], scopes: tuple[str, ...], *, plain_is_fine: bool
    ) -> str:
        try:
            parts = parse_url(realm.get("realm", ""))
        except LocationParseError:
            parts = Url()
        url, where = parts.url, parts.netloc or ""
        if parts.scheme not in ("http", "https") or not where:
            raise RemoteError(f"{self._what}: registry {self._registry} names no token service")
        if parts.scheme == "http" and not (plain_is_fine or is_loopback(where)):
            raise RemoteError(
                f"{self._what}: registry {self._registry} has its token service at plain "
                f"{url[:200]!r}: refused, since passwords and tokens would go there"
            )
        demanded = tuple(filter(None, realm.get("scope", "").split(" ")))
        fields = [("service", realm["service"])] if realm.get("service") else []
        wanted = [("scope", scope) for scope in dict.fromkeys((*scopes, *demanded))]
        found = self._fetch(url, fields, wanted)
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RemoteError(f"{self._what}: {where} answered with no token")
        refresh = found.get("refresh_token")
        if isinstance(refresh, str):
            self.identity_token = refresh
        return token

    def _fetch(
        self, url: str, fields: list[tuple[str, str]], scopes: list[tuple[str, str]]
    ) -> dict[str, object]:
        if self._credentials.identity_token:
            form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", self._credentials.identity_token),
                ("client_id", _CLIENT),
                *fields,
                ("scope", " ".join(value for _, value in scopes)),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._ask("POST", url, headers, urlencode(form).encode())
            if answer.status not in _NO_OAUTH or not self._credentials.username:
                return self._object(url, answer)
        query = [*fields, *scopes]
        headers = {}
        if self._credentials.username:
            query += [("account", self._credentials.username)]
            query += [("client_id", _CLIENT), ("offline_token", "true")]
            headers = {"Authorization": self._credentials.basic}
        whole = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
        return self._object(url, self._ask("GET", whole, headers, None))

    def _object(self, url: str, answer: Answer) -> dict[str, object]:
        where = urlsplit(url).netloc
        if answer.status in (401, 403):
            raise self.denied()
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls success
            raise RemoteError(f"{self._what}: token service {where} answered {answer.status}")
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise RemoteError(f"{self._what}: {where} answered with no token")
        return found
