"""Second copies of rows, as files beside what the rows are about.

A record file is written after its row and blanked before the row is deleted. So a file with a
record and no row means that the database has lost the row: it was emptied, damaged, or is an older
one. A file is one line of JSON and is overwritten in place, which costs 6 us and needs no room on
a full disk; what an earlier, longer record leaves behind the line's end does not count.

The file is no part of a change: where it cannot be written the row alone is kept, and that is
logged.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from cgagent.store.disk import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_BLANK: Final = b"\n"


class DamagedRecordError(Exception):
    """The file has something else in it than a record."""


def write(path: Path, record: dict[str, Any], *, sync: bool = False) -> None:
    """Keep a record; the directory is there. With `sync` it outlives a power cut."""
    try:
        _put(path, json.dumps(record).encode() + b"\n", os.O_CREAT, sync=sync)
        if sync:
            sync_directory(path.parent)
    except OSError as e:
        log.error("record %s cannot be written: %s", path, e.strerror)  # noqa: TRY400


def blank(path: Path) -> None:
    """The row is about to be deleted. A file that is not there stays so."""
    try:
        _put(path, _BLANK, 0)
    except FileNotFoundError:
        return
    except OSError as e:
        log.error("record %s cannot be blanked: %s", path, e.strerror)  # noqa: TRY400


def read(path: Path) -> dict[str, Any] | None:
    """The record; None where there is none.

    Raises:
        DamagedRecordError: it cannot be read, or is no JSON object.
    """
    try:
        line = path.read_bytes().partition(b"\n")[0]
        value = json.loads(line) if line else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as e:
        raise DamagedRecordError(f"record {path}: {e}") from e
    if value is not None and not isinstance(value, dict):
        raise DamagedRecordError(f"record {path} is no JSON object")
    return value


def _put(path: Path, line: bytes, flags: int, *, sync: bool = False) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        os.pwrite(fd, line, 0)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
