"""Who a user is at a registry, as Docker's clients send it with a request. It is never stored."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field

from cgagent.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or a token instead of both; empty where there is none."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """Is exchanged for tokens, and stays good for long (OAuth's refresh token)."""
    registry_token: str = field(default="", repr=False)
    """Is shown to the registry as it is."""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of a header Authorization."""
        plain = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(plain).decode('ascii')}"


ANONYMOUS = Credentials()


def from_header(text: str | None) -> Credentials:
    """Of ``X-Registry-Auth``: JSON as base64, the URL's alphabet or the usual one.

    Raises:
        InvalidInputError: it is something else. Its text is not told.
    """
    if not text:
        return ANONYMOUS
    try:
        usual = text.strip().translate(str.maketrans("-_", "+/"))
        found = json.loads(base64.b64decode(usual + "=" * (-len(usual) % 4), validate=True))
        auth = found.get("auth") or ""
        username, password = found.get("username") or "", found.get("password") or ""
        if auth and not username:
            username, _, password = base64.b64decode(auth).decode().partition(":")
        made = Credentials(
            username,
            password,
            found.get("identitytoken") or "",
            found.get("registrytoken") or "",
        )
        fields = made.username, made.password, made.identity_token, made.registry_token
        if not all(isinstance(value, str) for value in fields):
            raise ValueError
    except (ValueError, AttributeError, binascii.Error, RecursionError):
        raise InvalidInputError(
            "header X-Registry-Auth is not base64 of a JSON object with username and password, "
            "identitytoken or registrytoken"
        ) from None
    return made
