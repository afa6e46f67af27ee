"""Limits that have no field: any setting of one of the group's controllers, by its file.

For rdma.max, misc.max, dmem.max, hugetlb.*.rsvd.max and what kernels to come may bring. The
files of cgroup's core (cgroup.*) are not settings, and what cannot be read back is none.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.changes import Write, missing
from cgagent.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.cgroups.hierarchy import Placement

_NAME: Final = re.compile(r"([a-z][a-z0-9_]*)\.[A-Za-z0-9_][A-Za-z0-9_.]*")
_RENAMED: Final = {"blkio": "io"}


def controller_of(name: str) -> str:
    """The controller that a file belongs to, by its name.

    Raises:
        InvalidInputError: not the plain name of a controller's file.
    """
    match = _NAME.fullmatch(name)
    if not match or match[1] == "cgroup":
        raise InvalidInputError(
            f"limit conf: {name!r} is no controller's file: give one such as misc.max"
        )
    return _RENAMED.get(match[1], match[1])


def writes(
    places: Mapping[str, Placement], group: str, pairs: Iterable[tuple[str, str]]
) -> list[Write]:
    """The writes for (file, value) pairs.

    Raises:
        InvalidInputError: not a controller's file, or not a setting.
        UnsupportedError: the host has no such controller, or it no such file.
    """
    return [
        Write("conf", _checked(path_of(places, group, name)), value.strip(), _undo_for(value))
        for name, value in pairs
    ]


def path_of(places: Mapping[str, Placement], group: str, name: str) -> str:
    controller = controller_of(name)
    place = places.get(controller)
    if not place:
        raise UnsupportedError(
            f"limit conf: there is no {name}: this host has no {controller} cgroup controller"
        )
    return f"{place.mount}{group.rstrip('/')}/{name}"


def _checked(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        directory, name = os.path.split(path)
        if os.path.isdir(directory):
            raise missing("conf", path) from None
        raise UnsupportedError(
            f"limit conf: there is no {name} in {directory}: groups are not made in this "
            "hierarchy of cgroup v1"
        ) from None
    if not mode & stat.S_IRUSR or not mode & stat.S_IWUSR:
        raise InvalidInputError(
            f"limit conf: {path} is not a setting: it cannot be both written and read back"
        )
    return path


def _undo_for(value: str) -> Callable[[str], str]:
    """A file of one value gets it back; of keyed lines only the line of the same key."""

    def undo(text: str) -> str:
        words = value.split()
        if len(words) <= 1 or words[0] == "max" or words[0].isdecimal():
            return text.strip()
        for line in files.lines(text):
            if line.split()[:1] == words[:1]:
                return line
        # The kernel leaves out what has its default.
        pairs = (f"{word.partition('=')[0]}=max" if "=" in word else "max" for word in words[1:])
        return " ".join([words[0], *pairs])

    return undo


def held(
    places: Mapping[str, Placement], group: str, names: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """(file, text) pairs as the kernel has them; without those that are not there."""
    texts = ((name, files.read(path_of(places, group, name))) for name in names)
    return tuple((name, text.strip()) for name, text in texts if text is not None)
