"""Docker's ``config.json``: who a user is at which registry, and the helpers that keep secrets.

It is read and written by the client alone; the agent is told with each request. The file is
`$DOCKER_CONFIG/config.json`, or that in ~/.docker. Helpers are programs ``docker-credential-NAME``:
https://github.com/docker/docker-credential-helpers
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import tempfile
from typing import Any, Final

from cgagent.errors import DeniedError, InvalidInputError, NotFoundError

HUB: Final = "docker.io"
HUB_KEY: Final = "https://index.docker.io/v1/"
"""The key of Docker Hub in config.json."""
_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a helper's name for "the secret is a token"
_HELPER_S: Final = 60
_NOT_FOUND: Final = "credentials not found"


def path() -> str:
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return os.path.join(folder, "config.json")


def registry_of(name: str) -> str:
    """The registry in an image's name."""
    first, slash, _ = name.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return host_of(first) if is_host else HUB


def host_of(address: str) -> str:
    """A registry as users write it, with a scheme and a path perhaps, in one form."""
    host = address.partition("://")[2] or address
    host = host.partition("/")[0]
    return HUB if host in _HUB_HOSTS else host


def header(name: str) -> tuple[str, ...]:
    """The request's header for what is done with an image or registry of this name."""
    found = lookup(registry_of(name))
    return (encoded(found),) if found else ()


def encoded(credentials: dict[str, str]) -> str:
    raw = json.dumps(credentials).encode()
    return f"X-Registry-Auth: {base64.urlsafe_b64encode(raw).decode('ascii')}"


def load() -> dict[str, Any]:
    """Raises InvalidInputError: the file is no JSON object."""
    try:
        with open(path(), "rb") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        raise DeniedError(f"{path()} cannot be read by this user") from None
    except (ValueError, RecursionError) as e:
        raise InvalidInputError(f"{path()} is not JSON: {e}") from None
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path()} is not a JSON object")
    return found


def lookup(host: str) -> dict[str, str]:
    """In the words of X-Registry-Auth; empty: nobody has logged in there."""
    config = load()
    helper = _helper(config, host)
    if helper:
        for key in _keys(host):
            found = _ask_helper(helper, key)
            if found:
                return found
        return {}
    auths = config.get("auths")
    for key, entry in (auths if isinstance(auths, dict) else {}).items():
        if host_of(key) == host and isinstance(entry, dict) and entry:
            return _entry(key, entry)
    return {}


def _entry(key: str, entry: dict[str, Any]) -> dict[str, str]:
    names = ("username", "password", "identitytoken", "registrytoken")
    found = {name: str(entry[name]) for name in names if entry.get(name)}
    try:
        auth = str(entry.get("auth") or "")
        username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidInputError(f"{path()}: auth of {key} is not base64") from None
    if username:
        found |= {"username": username, "password": password.strip("\0")}
    return found and {**found, "serveraddress": key}


def store(host: str, credentials: dict[str, str]) -> str:
    """Keep them; the path of the file, or the helper's name.

    Raises:
        DeniedError: the file cannot be written, or the helper refuses.
    """
    config = load()
    key = HUB_KEY if host == HUB else host
    helper = _helper(config, host)
    if helper:
        token = credentials.get("identitytoken")
        message = {
            "ServerURL": key,
            "Username": _TOKEN_USER if token else credentials["username"],
            "Secret": token or credentials["password"],
        }
        _run(helper, "store", json.dumps(message))
        return f"docker-credential-{helper}"
    user = credentials["username"]
    token = credentials.get("identitytoken")
    secret = "" if token else credentials["password"]
    entry = {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode("ascii")}
    if token:
        entry["identitytoken"] = token
    _write({**config, "auths": {**_auths(config), key: entry}})
    return path()


def erase(host: str) -> bool:
    """Was there anything?"""
    config = load()
    helper = _helper(config, host)
    kept = {key: entry for key, entry in _auths(config).items() if host_of(key) != host}
    found = len(kept) < len(_auths(config))
    if helper:
        for key in _keys(host):
            if _ask_helper(helper, key):
                _run(helper, "erase", key)
                found = True
    if len(kept) < len(_auths(config)):
        _write({**config, "auths": kept})
    return found


def _auths(config: dict[str, Any]) -> dict[str, Any]:
    found = config.get("auths")
    return found if isinstance(found, dict) else {}


def _keys(host: str) -> tuple[str, ...]:
    return (HUB_KEY, HUB) if host == HUB else (host, f"https://{host}")


def _helper(config: dict[str, Any], host: str) -> str:
    helpers = config.get("credHelpers")
    for key, name in (helpers if isinstance(helpers, dict) else {}).items():
        if host_of(key) == host:
            return str(name)
    return str(config.get("credsStore") or "")


def _ask_helper(helper: str, key: str) -> dict[str, str]:
    try:
        found = json.loads(_run(helper, "get", key))
        username, secret = str(found["Username"]), str(found["Secret"])
    except NotFoundError:
        return {}
    except (ValueError, LookupError, TypeError):
        raise InvalidInputError(f"docker-credential-{helper}: its answer is no login") from None
    if username == _TOKEN_USER:
        return {"identitytoken": secret, "serveraddress": key}
    return {"username": username, "password": secret, "serveraddress": key} if username else {}


def _run(helper: str, verb: str, text: str) -> str:
    """Call a credential helper with `text` as its input; its output.

    Raises:
        NotFoundError: it has nothing for that registry.
        DeniedError: it is not there, or failed.
    """
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb],
            input=text,
            capture_output=True,
            text=True,
            timeout=_HELPER_S,
            check=False,
        )
    except FileNotFoundError:
        raise DeniedError(f"{program}, which {path()} names, is not installed") from None
    except subprocess.TimeoutExpired:
        raise DeniedError(f"{program} {verb} did not end within {_HELPER_S} s") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stdout.strip() or done.stderr.strip()).split("\n")[0]
    if _NOT_FOUND in said:
        raise NotFoundError(f"{program}: {said}")
    raise DeniedError(f"{program} {verb} failed: {said[:200] or done.returncode}")


def _write(config: dict[str, Any]) -> None:
    """All at once, for the user alone."""
    target = os.path.realpath(path())  # the file may be a link to where it is kept
    folder = os.path.dirname(target)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd, draft = tempfile.mkstemp(prefix=".config-", dir=folder)  # 0600
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(config, file, indent="\t")
                file.flush()
                os.fsync(fd)
            os.rename(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as e:
        raise DeniedError(f"{target} cannot be written: {str(e.strerror).lower()}") from None
