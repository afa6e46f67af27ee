"""The work beside the clients: pulls of a gigabyte, and a container that writes without end."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from cgagent.images.manifest import this_architecture
from tests.world.layered import tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world.agent import Agent
    from tests.world.registry import Registry

_LAYERS: Final = 4
_LAYER_BYTES: Final = 256 << 20
_SLOW_BYTES: Final = 4096
_FLOOD: Final = ("sh", "-c", f"exec yes {'x' * 63}")
_LOG: Final = {"driver": "json-file", "options": {"max-size": "64m", "max-file": "2"}}


def push_random(registry: Registry) -> str:
    """An image of four layers that do not compress; the name to pull it by."""
    layers, diffs = [], []
    for n in range(_LAYERS):
        content = tar_of({f"random{n}": os.urandom(_LAYER_BYTES)})
        layers.append(_blob(registry, content, "application/vnd.oci.image.layer.v1.tar"))
        diffs.append(layers[-1]["digest"])
    config = {
        "architecture": this_architecture()[0],
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }
    kind = "application/vnd.oci.image.config.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(registry, json.dumps(config).encode(), kind),
        "layers": layers,
    }
    where = "/v2/load/manifests/latest"
    _put(registry, where, json.dumps(manifest).encode(), str(manifest["mediaType"]))
    return f"{registry.address}/load:latest"


def _blob(registry: Registry, content: bytes, kind: str) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    line = http.client.HTTPConnection(registry.address)
    line.request("POST", "/v2/load/blobs/uploads/")
    answer = line.getresponse()
    answer.read()
    where = answer.headers["Location"]
    where = where[where.index("/v2/") :]
    _put(registry, f"{where}{'&' if '?' in where else '?'}digest={digest}", content)
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _put(
    registry: Registry, where: str, content: bytes, kind: str = "application/octet-stream"
) -> None:
    line = http.client.HTTPConnection(registry.address)
    line.request("PUT", where, content, {"Content-Type": kind})
    answer = line.getresponse()
    if answer.status != http.HTTPStatus.CREATED:
        raise RuntimeError(f"PUT {where}: {answer.status} {answer.read()!r}")


class Surroundings:
    """A context: the pulls, the flood and its two readers go on as long as it lasts."""

    def __init__(self, agent: Agent, image: str, only: set[str]) -> None:
        """`only` which of pull, flood, quick and slow."""
        self._only = only
        self._agent = agent
        self._image = image
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lines: list[socket.socket] = []
        self.pulls_s: list[float] = []
        self.read_bytes = {"quick": 0, "slow": 0}
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        if "flood" in self._only:
            self._agent.launch(*_FLOOD, image="busybox", name="flood", log=_LOG)
        works = {
            "pull": self._pull,
            "quick": lambda: self._read("flood", "quick"),
            "slow": lambda: self._read("flood", "slow"),
        }
        for name in self._only & works.keys():
            self._threads.append(threading.Thread(target=works[name]))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _pull(self) -> None:
        client = self._agent.client.another()
        while not self._ended.is_set():
            began_s = time.perf_counter()
            *_, last = client.lines("POST", "/v1/images/pull", {"name": self._image})
            if "error" in last:
                self.wrong.append(f"pull: {last['error']['message']}")
            else:
                self.pulls_s.append(time.perf_counter() - began_s)
            client.request("DELETE", f"/v1/images/{self._image}")

    def _read(self, container: str, kind: str) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._agent.socket))
            self._lines.append(line)
            target = f"/v1.50/containers/{container}/logs?follow=1&stdout=1&tail=0"
            line.sendall(f"GET {target} HTTP/1.1\r\nHost: load\r\n\r\n".encode())
            for size in self._received(line, kind):
                self.read_bytes[kind] += size
            if not self._ended.is_set():
                self.wrong.append(f"the {kind} reader was cut off")

    def _received(self, line: socket.socket, kind: str) -> Iterator[int]:
        while size := len(line.recv(_SLOW_BYTES if kind == "slow" else 1 << 20)):
            yield size
            if kind == "slow" and self._ended.wait(1):
                return
