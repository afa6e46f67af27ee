"""A token service as Docker Hub has one, for docker-registry's ``auth: token``."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ISSUER = "cgagent-test"
SERVICE = "registry"


def certificate(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key; signed by itself unless `options` say other."""
    files = folder / f"{name}.crt", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", *options]
    command += ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Service:
    """Grants what is asked to `user`; anybody may pull unless `private`."""

    def __init__(self, key: Path, certificate: Path, *, life_s: int = 60) -> None:
        self.key = key
        pem = certificate.read_text().split("-----")[2]
        self.der = "".join(pem.split())
        self.life_s = life_s
        self.user = ("me", "secret")
        self.refresh = "a-refresh-token"
        self.private = False
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []
        self.address = ""

    def configuration(self, bundle: Path) -> dict[str, Any]:
        """docker-registry's ``auth``."""
        return {
            "token": {
                "realm": f"http://{self.address}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(bundle),
            }
        }

    def token(self, scopes: list[str], *, known: bool) -> str:
        access = []
        for scope in " ".join(scopes).split():
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            granted = actions.split(",") if known else []
            if not known and not self.private and kind == "repository":
                granted = [a for a in actions.split(",") if a == "pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "me",
            "aud": SERVICE,
            "exp": now + self.life_s,
            "nbf": now - 5,
            "iat": now,
            "jti": hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:12],
            "access": access,
        }
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.der]}
        text = ".".join(_segment(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signed = subprocess.run(command, input=text.encode(), check=True, capture_output=True)
        return f"{text}.{_segment(signed.stdout)}"


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Silent."""

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            login = self.headers.get("Authorization", "")
            service.asked.append(("GET", query, login))
            expected = base64.b64encode(":".join(service.user).encode()).decode()
            if login and login != f"Basic {expected}":
                self.answer(401, {})
                return
            token = service.token(query.get("scope", []), known=bool(login))
            found = {"token": token, "expires_in": service.life_s}
            if login and query.get("offline_token"):
                found["refresh_token"] = service.refresh
            self.answer(200, found)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = parse_qs(raw)
            service.asked.append(("POST", form, ""))
            if form.get("refresh_token") != [service.refresh]:
                self.answer(401, {})
                return
            token = service.token(form.get("scope", []), known=True)
            self.answer(200, {"access_token": token})

        def answer(self, status: int, found: dict[str, Any]) -> None:
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
