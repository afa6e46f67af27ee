"""TCP sockets of a network namespace by state, from /proc/PID/net/tcp and tcp6.

The kernel goes through the sockets of all namespaces for either file, so nothing is read where its
counts say that there are none, and no more of a file than `_MOST_BYTES`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FAMILIES: Final = ("tcp", "tcp6")
STATES: Final = {
    b"01": "established",
    b"02": "synsent",
    b"03": "synrecv",
    b"04": "finwait1",
    b"05": "finwait2",
    b"06": "timewait",
    b"07": "close",
    b"08": "closewait",
    b"09": "lastack",
    b"0A": "listen",
    b"0B": "closing",
    b"0C": "synrecv",
}
"""The kernel's number (include/net/tcp_states.h), and cAdvisor's name; the last is of a socket
that is not yet one, too."""
_MOST_BYTES: Final = 8 << 20
"""50,000 sockets."""
_STATE_FIELD: Final = 3


def by_state(pid: int) -> Mapping[str, Mapping[str, int]] | None:
    """Sockets by state, by family; all states are there.

    None: the process is gone, or has the network namespace of this one, or a file is too long.
    """
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return None
        sockets = _read(f"/proc/{pid}/net/sockstat") + _read(f"/proc/{pid}/net/sockstat6")
        files = {family: f"/proc/{pid}/net/{family}" for family in FAMILIES}
        return {
            family: parse(_read(path) if _has_some(sockets) else b"")
            for family, path in files.items()
        }
    except (FileNotFoundError, ProcessLookupError, OverflowError):
        return None


def _read(path: str) -> bytes:
    """Empty for a family that the kernel does not have.

    Raises:
        OverflowError: it is longer than what is read at most.
    """
    try:
        with open(path, "rb") as file:
            found = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return b""
    if len(found) == _MOST_BYTES:
        raise OverflowError(path)
    return found


def _has_some(sockstat: bytes) -> bool:
    """``TCP: inuse 1 orphan 0 tw 2 ...``, ``TCP6: inuse 0``; those that wait count for both."""
    for line in filter(None, sockstat.split(b"\n")):
        name, *words = line.split()
        if name in (b"TCP:", b"TCP6:"):
            counts = dict(zip(words[::2], words[1::2], strict=True))
            if any(int(counts.get(key, 0)) for key in (b"inuse", b"orphan", b"tw")):
                return True
    return False


def parse(text: bytes) -> dict[str, int]:
    """Sockets by state: of a file, whose first line is a heading."""
    found = dict.fromkeys(STATES.values(), 0)
    for state in _states(text):
        found[STATES.get(state, "close")] += 1
    return found


def _states(text: bytes) -> Iterator[bytes]:
    for line in text.split(b"\n")[1:]:
        if line:
            yield line.split(None, _STATE_FIELD + 1)[_STATE_FIELD]
