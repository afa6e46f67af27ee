"""Modes of files as COPY --chmod has them: ``755``, or chmod(1)'s ``u=rwX,go-w``."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Change: TypeAlias = Callable[[int], int]
    """From a file's ``st_mode`` to the permissions that it gets."""

_OCTAL: Final = re.compile(r"0*[0-7]{1,4}")
_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION: Final = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFTS: Final = {"u": 6, "g": 3, "o": 0}
_SPECIAL: Final = {"u": (stat.S_ISUID, "s"), "g": (stat.S_ISGID, "s"), "o": (stat.S_ISVTX, "t")}
_UMASK: Final = 0o022
"""What a clause that names nobody leaves alone."""


def octal(text: str) -> int:
    """Raises ValueError."""
    if not _OCTAL.fullmatch(text):
        raise ValueError(f"mode {text[:20]!r} is not up to four octal digits, such as 0755")
    return int(text, 8)


def change(asked: int | str) -> Change:
    """What a mode does, given as a number or in symbols. Raises ValueError: it is none."""
    if isinstance(asked, int):
        return lambda _: asked
    clauses = [_CLAUSE.fullmatch(text) for text in asked.split(",")]
    actions = [
        (clause[1], operator, what)
        for clause in clauses
        if clause
        for operator, what in _ACTION.findall(clause[2])
    ]
    if not all(clauses):
        raise ValueError(
            f"mode {asked[:40]!r} is neither octal digits, such as 755, nor symbols as chmod has "
            "them, such as u=rwX,go-w"
        )

    def changed(mode: int) -> int:
        kind = stat.S_IFMT(mode)
        for who, operator, what in actions:
            mode = kind | _changed(mode, who, operator, what)
        return stat.S_IMODE(mode)

    return changed


def _changed(mode: int, who: str, operator: str, what: str) -> int:
    meant = _SHIFTS if not who or "a" in who else {name: _SHIFTS[name] for name in who}
    given = _given(mode, what)
    bits = sum(given << shift for shift in meant.values())
    bits |= sum(bit for name, (bit, letter) in _SPECIAL.items() if name in meant and letter in what)
    bits &= ~_UMASK if not who else -1
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    held = sum(0o7 << shift | _SPECIAL[name][0] for name, shift in meant.items())
    return mode & ~held | bits


def _given(mode: int, what: str) -> int:
    """Of read, write and execute; `what` may name whose are copied."""
    if what and what in _SHIFTS:
        return mode >> _SHIFTS[what] & 0o7
    found = sum(bit for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if letter in what)
    executes = "X" in what and (stat.S_ISDIR(mode) or mode & 0o111)
    return found | bool(executes)
