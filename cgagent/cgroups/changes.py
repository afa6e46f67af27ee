"""Writing limit files all or not at all.

A controller turns limits into a list of `Write`s; `commit` looks first that every file exists,
then writes in order, and on a refusal writes the earlier values back in reverse order.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cgagent.cgroups import files
from cgagent.errors import CgagentError, InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Write:
    """One write to one file, for the limit (a field of Limits) that asked for it."""

    limit: str
    path: str
    value: str
    undo: Callable[[str], str] = str.strip
    """From the file's text before the write to what must be written to restore it."""
    causes: Mapping[int, str | Callable[[], str]] = field(default_factory=dict)
    """What an errno means for this very file, where it is more than the general meaning."""


def commit(writes: Sequence[Write]) -> None:
    """Make all writes, or raise and leave every value as it was.

    Raises:
        UnsupportedError: a file does not exist on this host; nothing was written.
        InvalidInputError, ConflictError, DeniedError: the kernel's refusal.
    """
    check(writes)
    done: list[Write] = []
    for write in writes:
        try:
            before = files.read(write.path) or ""
            files.write(write.path, write.value)
        except OSError as error:
            raise _refusal(write, error, _roll_back(done)) from error
        except CgagentError as error:  # it could not be read
            raise type(error)(error.message + _roll_back(done)) from error
        done.append(Write(write.limit, write.path, write.undo(before)))


def make(writes: Sequence[Write]) -> None:
    """Make all writes, for a group that is new and is given up when one fails.

    Raises: as `commit`; what was written stays.
    """
    for write in writes:
        try:
            files.write(write.path, write.value)
        except FileNotFoundError:
            raise missing(write.limit, write.path) from None
        except OSError as error:
            raise _refusal(write, error, "") from error


def check(writes: Sequence[Write]) -> None:
    """Raise UnsupportedError when one of the files does not exist."""
    for write in writes:
        if not os.path.exists(write.path):
            raise missing(write.limit, write.path)


def missing(limit: str, path: str) -> CgagentError:
    """The error for a limit whose file is not there."""
    directory, name = os.path.split(path)
    return UnsupportedError(
        f"limit {limit}: there is no {name} in {directory}: this kernel has none, or its "
        "controller is not enabled for this group"
    )


def earlier(writes: Sequence[Write]) -> tuple[tuple[str, str], ...]:
    """(file, text) pairs that restore what the files hold now, in the order to write them."""
    texts = [(write, files.read(write.path)) for write in writes]
    return tuple((w.path, w.undo(text)) for w, text in reversed(texts) if text is not None)


def put_back(pairs: Iterable[tuple[str, str]]) -> None:
    """Write what `earlier` found; a file that is gone went with its group.

    Raises:
        CgagentError: a file could not be written; the others were.
    """
    for path, value, error in _write_all(pairs):
        if not isinstance(error, FileNotFoundError):
            raise files.failure(f"{path}: cannot be set back to {value!r}", error)


def _roll_back(done: list[Write]) -> str:
    """Restore in reverse order; returns what could not be restored, for the message."""
    return "".join(
        f"; {path} could not be set back to {value!r}: {error.strerror}"
        for path, value, error in _write_all((w.path, w.value) for w in reversed(done))
    )


def _write_all(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str, OSError]]:
    """Write each, whatever becomes of the others; those that failed, with the cause."""
    failed = []
    for path, value in pairs:
        try:
            _write_back(path, value)
        except OSError as error:
            failed.append((path, value, error))
    return failed


def _write_back(path: str, value: str) -> None:
    """A v2 cpuset with processes in it is not given an empty list again, but what that meant."""
    try:
        files.write(path, value)
    except OSError as error:
        if value or error.errno != errno.ENOSPC:
            raise
        files.write(path, parents(path))


def parents(path: str) -> str:
    """What a v2 cpuset's empty list stands for: the parent's."""
    directory, name = os.path.split(path)
    return (files.read(f"{os.path.dirname(directory)}/{name}.effective") or "").strip()


def _refusal(write: Write, error: OSError, left_over: str) -> CgagentError:
    what = f"limit {write.limit}: {write.path} refuses {write.value!r}"
    known = write.causes.get(error.errno or 0)
    if callable(known):
        known = known()
    if known and error.errno in {errno.EACCES, errno.ENODEV}:
        return InvalidInputError(f"{what}: {known}{left_over}")
    refusal = files.failure(what, error, known or "")
    return type(refusal)(refusal.message + left_over) if left_over else refusal


def refuse(limits: Mapping[str, str], asked: Mapping[str, object], reason: str) -> None:
    """Refuse the limits (field -> file looked for) that this kernel interface has not.

    Raises:
        UnsupportedError: naming limit, file and reason.
    """
    for limit, file in limits.items():
        if limit in asked:
            raise UnsupportedError(f"limit {limit}: there is no {file} {reason}")
