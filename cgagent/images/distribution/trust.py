"""Which certificates are believed and shown: the system's, and Docker's ``certs.d``.

Making an SSL context reads all of the system's certificates, 30 ms: each is made once, and again
when a file that it was made of has changed.
"""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgagent.errors import InvalidInputError
from cgagent.images.distribution.sockets import TlsSocket

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Certificates:
    """Of one registry: files of authorities, and pairs of a client's certificate and key."""

    authorities: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()
    verify: bool = True

    def for_another_host(self) -> Certificates:
        """Who a registry refers to is believed as it is, and not shown who we are."""
        return replace(self, clients=())


class Trust:
    """Args: folders: with a directory for each ``HOST[:PORT]``; the first that has one counts."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = [Path(folder) for folder in folders]
        self._contexts: dict[object, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def certificates(self, host: str, *, verify: bool) -> Certificates:
        """Raises InvalidInputError: a client's certificate without its key, or a key without it."""
        for folder in self._folders:
            if (folder / host).is_dir():
                return _read(folder / host, verify=verify)
        return Certificates(verify=verify)

    def context(self, certificates: Certificates) -> ssl.SSLContext:
        """Raises InvalidInputError: a file is no certificate."""
        files = [*certificates.authorities, *(f for pair in certificates.clients for f in pair)]
        system = ssl.get_default_verify_paths().cafile
        key = certificates, tuple(_stamp(f) for f in (*files, *([system] if system else ())))
        with self._lock:
            if key not in self._contexts:
                self._contexts[key] = _context(certificates)
            return self._contexts[key]


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_size


def _read(folder: Path, *, verify: bool) -> Certificates:
    files = sorted(folder.iterdir())
    clients = []
    for file in files:
        partner = {".cert": ".key", ".key": ".cert"}.get(file.suffix)
        if partner is None:
            continue
        if not file.with_suffix(partner).exists():
            raise InvalidInputError(f"{file}: there is no {file.stem}{partner} beside it")
        if file.suffix == ".cert":
            clients.append((str(file), str(file.with_suffix(".key"))))
    authorities = tuple(str(file) for file in files if file.suffix == ".crt")
    # whoever has an authority of its own wants to be verified, insecure or not
    return Certificates(authorities, tuple(clients), verify=verify or bool(authorities))


def _context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = TlsSocket
    if not certificates.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        for authority in certificates.authorities:
            context.load_verify_locations(authority)
        for certificate, key in certificates.clients:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as e:
        raise InvalidInputError(
            f"{', '.join(certificates.authorities)}: a certificate or key cannot be read: {e}"
        ) from None
    return context
