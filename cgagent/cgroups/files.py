"""Reading and writing the small text files of a cgroup file system.

Only form is known here (numbers, flat and nested keys); what a file means stands with
its controller. Functions that parse take the text, so that a reader with kept descriptors and
a plain open share them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from cgagent.errors import (
    CgagentError,
    ConflictError,
    DeniedError,
    InternalError,
    InvalidInputError,
    NoSpaceError,
    NotFoundError,
    UnsupportedError,
)

Read = Callable[[str], "str | None"]
"""From a path to a file's text, or None where this kernel has no such file."""

ABSENT: Final = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.ENOTDIR, errno.EINVAL})
"""No such file here: no controller, no swap accounting, PSI switched off (EOPNOTSUPP)."""

_CLASSES: Final[dict[int, type[CgagentError]]] = {
    errno.EACCES: DeniedError,
    errno.EPERM: DeniedError,
    errno.EROFS: DeniedError,
    errno.ENOENT: NotFoundError,
    errno.ESRCH: NotFoundError,
    errno.ENODEV: NotFoundError,
    errno.EBUSY: ConflictError,
    errno.EEXIST: ConflictError,
    errno.ENOTEMPTY: ConflictError,
    errno.EINVAL: InvalidInputError,
    errno.ERANGE: InvalidInputError,
    errno.EOVERFLOW: InvalidInputError,
    errno.ENXIO: InvalidInputError,
    errno.EOPNOTSUPP: UnsupportedError,
    errno.ENOSPC: NoSpaceError,
}


def failure(what: str, error: OSError, advice: str = "") -> CgagentError:
    """The error to raise for a system call that failed, `what` being object and operation."""
    cause = advice or os.strerror(error.errno or 0).lower()
    return _CLASSES.get(error.errno or 0, InternalError)(f"{what}: {cause}")


def read(path: str) -> str | None:
    """The text of a file; None where this kernel or this group has no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise failure(f"{path}: cannot be opened", error) from error
    try:
        return read_all(descriptor)
    except OSError as error:
        if error.errno in ABSENT or error.errno == errno.ENODEV:
            return None
        raise failure(f"{path}: cannot be read", error) from error
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> str:
    """The whole text behind a descriptor, from its start."""
    chunk = os.pread(descriptor, 8192, 0)
    if len(chunk) < 4096:  # noqa: PLR2004 - kernfs fills a page at most before a short read
        return _text(chunk)
    whole = chunk
    while chunk := os.pread(descriptor, 65536, len(whole)):
        whole += chunk
    return _text(whole)


def _text(data: bytes) -> str:
    """A group's or a mount point's name may be any bytes, which stay what they are."""
    return data.decode("utf-8", "surrogateescape")


def lines(text: str) -> list[str]:
    """The lines of a text that are not empty, ended by line feeds alone.

    `str.splitlines` ends a line at a form feed, at U+0085, U+2028 and seven more as well, which may
    stand in a name.
    """
    return [line for line in text.split("\n") if line]


def write(path: str, value: str) -> None:
    """Write the whole value in one system call, as the kernel expects it.

    Raises:
        OSError: as it came; the caller knows what it was doing.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode() or b"\n")
    finally:
        os.close(descriptor)


class Keys:
    """The numbers of some keys of a flat file.

    A kernel writes a file's keys always in the same order, so each is first looked for where
    it stood in the last text. And groups that are read one after the other often say the same
    (that nothing was throttled): the last text's numbers are kept. May be shared by threads.
    """

    def __init__(self, *keys: str) -> None:
        self._keys = keys
        self._shape: tuple[int, tuple[int, ...]] = (-1, ())
        """The number of words of the last text that had all keys, and where they stood."""
        self._last: tuple[str | None, tuple[int | None, ...]] = (None, (None,) * len(keys))

    def values(self, text: str | None) -> tuple[int | None, ...]:
        """In the order of the keys; None for one that is not there."""
        last, numbers = self._last
        if text != last:
            numbers = self._parse((text or "").split())
            self._last = (text, numbers)
        return numbers

    def _parse(self, words: list[str]) -> tuple[int | None, ...]:
        length, places = self._shape
        if length == len(words):
            numbers: list[int | None] = []
            for key, place in zip(self._keys, places, strict=True):
                if words[place] != key:
                    break
                numbers.append(int(words[place + 1]))
            else:
                return tuple(numbers)
        return self._search(words)

    def _search(self, words: list[str]) -> tuple[int | None, ...]:
        found = dict(zip(words[::2], range(0, len(words), 2), strict=True))
        places = tuple(map(found.get, self._keys))
        known = tuple(place for place in places if place is not None)
        if len(known) == len(places):
            self._shape = (len(words), known)
        return tuple(None if place is None else int(words[place + 1]) for place in places)


def number(text: str | None) -> int | None:
    """A file with one number."""
    return None if text is None else int(text)


def flat(text: str | None) -> dict[str, str]:
    """A file of "key value" lines. Values stay text: a caller converts the few it uses."""
    words = (text or "").split()
    return dict(zip(words[::2], words[1::2], strict=True))


def nested(text: str | None) -> dict[str, dict[str, str]]:
    """A file of "key name=value name=value" lines, as io.max and io.stat are.

    The last key before a pair owns it: some kernels (5.x) print a device without
    statistics and forget the line's end.
    """
    lines: dict[str, dict[str, str]] = {}
    pairs: dict[str, str] = {}
    for word in (text or "").split():
        name, is_pair, value = word.partition("=")
        if is_pair:
            pairs[name] = value
        else:
            pairs = lines.setdefault(word, {})
    return lines


def counts(text: str | None) -> dict[str, int] | None:
    """All numbers of a flat file; None where there is no such file or nothing in it."""
    words = (text or "").split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True)) or None


def value_of(pairs: dict[str, str], key: str, scale: int = 1) -> int | None:
    """A number out of a parsed file, in another unit by `scale`; None where it is absent."""
    text = pairs.get(key)
    return None if text is None else int(text) * scale
