"""The peer of a connection: a process or a certificate, as the kernel or TLS says."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.access import Caller

if TYPE_CHECKING:
    from cgagent.tlspipe import Pipe

EXTENSION: Final = "cgagent.peer"
"""The key of an ASGI scope that has the `Peer`."""
_UCRED: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # since kernel 4.13
_GROUPS_BYTES: Final = 1024  # the most that Python's getsockopt takes
_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process of this host on a unix socket, or else an address."""

    uid: int | None = None
    gid: int | None = None
    gids: frozenset[int] = frozenset()
    pid: int | None = None
    address: str = ""
    subject: tuple[tuple[str, str], ...] = ()
    """The subject of its certificate, which was verified; empty: it has shown none."""
    over_tls: bool = False

    @property
    def who(self) -> object:
        """Whose connections are counted together."""
        return self.address if self.uid is None else self.uid

    def logged(self) -> dict[str, Any]:
        """The fields of a peer that the audit log has."""
        if self.uid is not None:
            return {"uid": self.uid, "gid": self.gid, "pid": self.pid}
        shown = {"subject": self._text()} if self.subject else {}
        return {"address": self.address, **shown}

    def caller(self) -> Caller | None:
        """The user, or the certificate; None: neither."""
        if self.uid is not None:
            return Caller(
                via="user",
                name=str(self.uid),
                scope="admin",
                uid=self.uid,
                gids=self.gids,
                details=self.logged(),
            )
        if self.subject:
            name = next((value for kind, value in self.subject if kind == "CN"), self._text())
            return Caller(via="certificate", name=name, scope="control", details=self.logged())
        return None

    def _text(self) -> str:
        return ",".join(f"{kind}={value}" for kind, value in self.subject)


def of(sock: socket.socket) -> Peer:
    """The peer of a connection without TLS."""
    if sock.family != socket.AF_UNIX:
        try:
            return Peer(address=sock.getpeername()[0])
        except OSError:  # it has hung up
            return Peer()
    sent = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(sent)
    return Peer(uid=uid, gid=gid, gids=frozenset({gid, *_groups(sock)}), pid=pid)


def _groups(sock: socket.socket) -> tuple[int, ...]:
    """Beside the first; none of who has more than 256, or of an older kernel."""
    try:
        sent = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return ()
    return struct.unpack(f"{len(sent) // 4}I", sent)


def of_pipe(pipe: Pipe) -> Peer:
    """The peer of a connection with TLS, after its handshake."""
    found: Any = (pipe.tls.getpeercert() or {}).get("subject", ())
    subject = tuple((_SHORT.get(kind, kind), value) for part in found for kind, value in part)
    return Peer(address=pipe.address, subject=subject, over_tls=True)
