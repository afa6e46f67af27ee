"""Which process has a port, for the message that says it is taken."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.cgroups.files import lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCAL, _STATE, _INODE = 1, 3, 9
_TCP_LISTENS: Final = "0A"


def name(protocol: str, port: int) -> str | None:
    """Such as ``nginx (process 812)``; in the calling thread's network namespace.

    None: nobody knows, as for SCTP, a port that is bound only, and a process that is hidden.
    Goes through all processes: only where something failed already.
    """
    wanted = {f"socket:[{inode}]" for inode in _inodes(protocol, port)}
    if not wanted:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if not wanted.isdisjoint(_open_files(process)):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _open_files(process: Path) -> Iterator[str]:
    for entry in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            yield os.readlink(entry)


def _inodes(protocol: str, port: int) -> Iterator[str]:
    for version in ("", "6"):
        with suppress(FileNotFoundError):
            table = Path(f"/proc/thread-self/net/{protocol}{version}").read_text()
            for line in lines(table)[1:]:
                fields = line.split()
                listens = protocol != "tcp" or fields[_STATE] == _TCP_LISTENS
                if listens and int(fields[_LOCAL].rpartition(":")[2], 16) == port:
                    yield fields[_INODE]
