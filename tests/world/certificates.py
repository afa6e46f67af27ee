"""Certificates of the tests' own: authorities, servers and clients, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files in PEM."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; `cert` is its own."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert, self._key = folder / "ca.pem", folder / "ca-key.pem"
        extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", "-days", "2"),
            *("-keyout", str(self._key), "-out", str(self.cert)),
            *(word for extension in extensions for word in ("-addext", extension)),
        )

    def server(self, name: str = "server") -> Pair:
        """For 127.0.0.1, ::1 and localhost."""
        return self._signed(name, "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost")

    def client(self, name: str, *, is_expired: bool = False) -> Pair:
        days = ("-not_before", "20200101000000Z", "-not_after", "20200102000000Z")
        return self._signed(name, "extendedKeyUsage=clientAuth", days if is_expired else ())

    def _signed(self, name: str, extension: str, days: tuple[str, ...] = ()) -> Pair:
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        request = self._folder / f"{name}.csr"
        _openssl(
            *("req", *_NEW_KEY, "-subj", f"/O=tests/CN={name}"),
            *("-keyout", str(pair.key), "-out", str(request), "-addext", extension),
        )
        if days:
            self._sign_for_dates(request, pair.cert, days)
        else:
            _openssl(
                *("x509", "-req", "-in", str(request), "-out", str(pair.cert), "-days", "2"),
                *("-CA", str(self.cert), "-CAkey", str(self._key), "-copy_extensions", "copy"),
            )
        return pair

    def _sign_for_dates(self, request: Path, cert: Path, days: tuple[str, ...]) -> None:
        """``openssl ca`` alone takes dates in the past, in every version."""
        index = self._folder / "index.txt"
        index.touch()
        config = self._folder / "ca.cnf"
        config.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={index}\nnew_certs_dir={self._folder}\n"
            "default_md=sha256\npolicy=p\nrand_serial=yes\nunique_subject=no\n"
            "[p]\ncommonName=supplied\norganizationName=optional\n"
        )
        start, end = days[1], days[3]
        _openssl(
            *("ca", "-batch", "-config", str(config), "-in", str(request), "-out", str(cert)),
            *("-cert", str(self.cert), "-keyfile", str(self._key), "-notext"),
            *("-startdate", start, "-enddate", end),
        )


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*args: str) -> None:
    done = subprocess.run(["openssl", *args], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr}")
