"""Contexts on disk: ``~/.config/cgagent/contexts/NAME/`` with ``context.json`` and what TLS needs.

Files are copied when a context is made, so that it works wherever it is used. Nobody else can read
them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from cgagent.client import place
from cgagent.client.place import DEFAULT, Place, checked
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]{0,62}")
_FILE: Final = "context.json"
FILES: Final = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem", "token": "token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    name: str
    host: str
    description: str = ""
    tls: bool = False
    verify: bool = False

    @property
    def folder(self) -> str:
        return _folder(self.name)

    def files(self) -> dict[str, str]:
        """Those that it has, by what they are for."""
        paths = {kind: os.path.join(self.folder, name) for kind, name in FILES.items()}
        return {kind: path for kind, path in paths.items() if os.path.exists(path)}

    def place(self) -> Place:
        found = Place(self.host)
        files = self.files()
        token = files.pop("token", None)
        found.with_files(**files)
        found.tls = found.tls or self.tls
        found.verify = self.verify
        found.token = place.token_in(token) if token else ""
        return found


def _folder(name: str) -> str:
    return os.path.join(place.folder(), "contexts", name)


def check_name(name: str) -> str:
    """Raises InvalidInputError: it is none that a context may have."""
    if name == DEFAULT or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"context name {name[:64]!r} must be up to 63 letters, digits and '_.+-', and not "
            f"{DEFAULT!r}"
        )
    return name


def load(name: str) -> Stored:
    """Raises NotFoundError: there is none. InvalidInputError: it is damaged."""
    path = os.path.join(_folder(check_name(name)), _FILE)
    try:
        with open(path, encoding="utf-8") as file:
            found = Stored(name=name, **json.load(file))
        checked(f"context {name}: host", found.host)
    except FileNotFoundError:
        raise NotFoundError(
            f"context {name!r} does not exist; see cgagent context ls (CGAGENT_CONTEXT and "
            "cgagent context use choose one)"
        ) from None
    except (ValueError, TypeError) as e:
        raise InvalidInputError(f"context {name!r}: {path} is none: {e}") from None
    return found


def names() -> list[str]:
    try:
        found = os.listdir(os.path.join(place.folder(), "contexts"))
    except FileNotFoundError:
        return []
    return sorted(name for name in found if _NAME.fullmatch(name))


def create(stored: Stored, sources: Mapping[str, str]) -> None:
    """`sources` are paths of the files it is to have, by what they are for. All of it or nothing.

    Raises:
        ConflictError: there is one of that name.
    """
    folder = _folder(check_name(stored.name))
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    draft = f"{os.path.dirname(folder)}/.{stored.name}.{os.getpid()}"
    os.mkdir(draft, 0o700)
    try:
        for kind, source in sources.items():
            with open(source, "rb") as file:
                _write(os.path.join(draft, FILES[kind]), file.read(1 << 20))
        about = {k: v for k, v in asdict(stored).items() if k != "name"}
        _write(os.path.join(draft, _FILE), json.dumps(about, indent=2).encode() + b"\n")
        os.rename(draft, folder)
    except OSError as e:
        if os.path.isdir(folder) and e.filename == draft:
            raise ConflictError(
                f"context {stored.name!r} exists; remove it first (cgagent context rm "
                f"{stored.name})"
            ) from None
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)


def remove(name: str) -> None:
    shutil.rmtree(load(name).folder)


def use(name: str) -> None:
    """Take it where nothing else is said; `DEFAULT` is the usual socket."""
    path = os.path.join(place.folder(), "current-context")
    if name == DEFAULT:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    load(name)
    draft = f"{path}.{os.getpid()}"
    _write(draft, f"{name}\n".encode())
    os.rename(draft, path)
