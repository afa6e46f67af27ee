"""Who a process is: `USER[:GROUP]` looked up in the container's own /etc/passwd and /etc/group."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_ID: Final = 2**32 - 2
_MAX_FILE: Final = 16 * 1024 * 1024
_PIECE: Final = 64 * 1024
_FIELDS: Final = 7
_DIGITS: Final = 20
_SPACE: Final = " \t\r"


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _User:
    """A line of /etc/passwd. Fields at its end may be missing, as in many images."""

    name: str
    uid: int
    gid: str
    """As it stands there."""
    home: str

    @property
    def primary(self) -> int:
        """Its group; an empty field is group 0, as Docker has it.

        Raises:
            InvalidInputError: no number. It must not become group 0 unnoticed.
        """
        gid = _id(self.gid) if self.gid else 0
        if gid is None:
            raise InvalidInputError(
                f"user {self.name!r}: its group {self.gid[:20]!r} in the container's /etc/passwd "
                f"is no id; give one (--user {self.uid}:GROUP)"
            )
        return gid


@dataclass(frozen=True, slots=True)
class _Group:
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


def _users(path: str) -> Iterator[_User]:
    for name, _, uid, gid, _, home, *_ in _lines(path):
        number = _id(uid)
        if number is not None:
            yield _User(name, number, gid, home)


def _groups(path: str) -> Iterator[_Group]:
    for name, _, gid, members, *_ in _lines(path):
        number = _id(gid)
        if number is not None:
            yield _Group(name, number, tuple(m.strip(_SPACE) for m in members.split(",")))


def _lines(path: str) -> Iterator[list[str]]:
    """Fields of an image's colon-separated file, which may hold anything: at least seven.

    Those that a line does not have are empty; spaces around one, and a CR, are no part of it.
    """
    for line in _text(path).split("\n"):
        fields = [field.strip(_SPACE) for field in line.split(":")]
        yield fields + [""] * (_FIELDS - len(fields))


def _id(text: str) -> int | None:
    """A user or group id, or None if it is none."""
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        return None
    number = int(text)
    return number if number <= _MAX_ID else None


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
    """An id as it was asked for; None if it is a name.

    Raises:
        InvalidInputError: it is too large.
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    number = _id(text)
    if number is None:
        raise InvalidInputError(f"user or group id {text[:20]} is larger than {_MAX_ID}")
    return number


def look_up(spec: str, users: str = "/etc/passwd", groups: str = "/etc/group") -> Identity:
    """What `spec` means in the root this process sees. Empty means root, as Docker has it.

    The first line that has it as its name or its id counts. Its own group is among the others, too:
    a program with setgid would leave it behind, and with it what that group is denied.

    Raises:
        InvalidInputError: a name that the files do not have.
    """
    found = _named(spec, users, groups)
    return replace(found, groups=tuple(dict.fromkeys((found.gid, *found.groups))))


def _named(spec: str, users: str, groups: str) -> Identity:
    user, _, group_name = spec.partition(":")
    uid = _number(user) if user else 0
    found = next((u for u in _users(users) if u.uid == uid or (user and u.name == user)), None)
    if found is None:
        if uid is None:
            raise InvalidInputError(
                f"user {user!r} is not in the container's /etc/passwd; use a uid"
            )
        return Identity(uid, group_id(group_name, groups) if group_name else 0)
    home = found.home or "/"
    if group_name:
        return Identity(found.uid, group_id(group_name, groups), (), home)
    member_of = tuple(g.gid for g in _groups(groups) if found.name and found.name in g.members)
    return Identity(found.uid, found.primary, member_of, home)


def home_of(uid: int, users: str = "/etc/passwd") -> str:
    """The home directory of a user id in the root this process sees; "/" if nobody has it."""
    found = next((u for u in _users(users) if u.uid == uid), None)
    return (found.home if found else "") or "/"


def group_id(name: str, path: str = "/etc/group") -> int:
    """A number, or a name in the root this process sees.

    Raises:
        InvalidInputError: the file does not have it.
    """
    gid = _number(name)
    found = next((g for g in _groups(path) if name in {g.name, str(g.gid)}), None)
    if found is not None:
        return found.gid
    if gid is None:
        raise InvalidInputError(f"group {name!r} is not in the container's /etc/group; use a gid")
    return gid
