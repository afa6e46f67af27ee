"""Who a process is: `USER[:GROUP]` looked up in the container's own /etc/passwd and /etc/group."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_ID: Final = 2**32 - 2
_MAX_FILE: Final = 16 * 1024 * 1024
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def _entries(path: str, columns: int) -> Iterator[list[str]]:
    """Well-formed lines of an image's colon-separated file, which may hold anything."""
    for line in _text(path).split("\n"):
        parts = line.removesuffix("\r").split(":")
        if len(parts) >= columns and all(parts[i].isdecimal() for i in range(2, min(columns, 4))):
            yield parts


def _text(path: str) -> str:
    """Empty unless it is a regular file: opening a FIFO would wait for a writer for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        data = b""
        while len(data) < _MAX_FILE and (piece := os.read(fd, _PIECE)):
            data += piece
        return data[:_MAX_FILE].decode("utf-8", "replace")
    finally:
        os.close(fd)


def _number(text: str) -> int | None:
    if not text.isdecimal():
        return None
    if len(text) > len(str(_MAX_ID)) or int(text) > _MAX_ID:
        raise InvalidInputError(f"user or group id {text[:20]} is larger than {_MAX_ID}")
    return int(text)


def look_up(spec: str, users: str = "/etc/passwd", groups: str = "/etc/group") -> Identity:
    """What `spec` means in the root this process sees. Empty means root, as Docker has it.

    Raises:
        InvalidInputError: a name that the files do not have.
    """
    user, _, group_name = spec.partition(":")
    uid = _number(user) if user else 0
    found = next(
        (p for p in _entries(users, 7) if (p[0] == user if uid is None else int(p[2]) == uid)),
        None,
    )
    if uid is None and found is None:
        raise InvalidInputError(f"user {user!r} is not in the container's /etc/passwd; use a uid")
    uid = int(found[2]) if uid is None and found else uid or 0
    name = found[0] if found else None
    home = (found[5] or "/") if found else "/"
    if group_name:
        return Identity(uid, group_id(group_name, groups), (), home)
    member_of = tuple(
        int(g[2]) for g in _entries(groups, 3) if name and name in (g[3:] or [""])[0].split(",")
    )
    return Identity(uid, int(found[3]) if found else 0, member_of, home)


def home_of(uid: int, users: str = "/etc/passwd") -> str:
    """The home directory of a user id in the root this process sees; "/" if nobody has it."""
    found = next((p for p in _entries(users, 7) if int(p[2]) == uid), None)
    return (found[5] if found else "") or "/"


def group_id(name: str, path: str = "/etc/group") -> int:
    """A number, or a name in the root this process sees.

    Raises:
        InvalidInputError: the file does not have it.
    """
    gid = _number(name)
    if gid is not None:
        return gid
    for entry in _entries(path, 3):
        if entry[0] == name:
            return int(entry[2])
    raise InvalidInputError(f"group {name!r} is not in the container's /etc/group; use a gid")
