"""What Docker's own tests pull from Docker Hub, in a registry on loopback."""

from __future__ import annotations

import json
import tarfile
from typing import IO, TYPE_CHECKING, cast

from tests.world import images, layered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world.registry import Registry


def stock(registry: Registry, scratch: Path) -> None:
    """Put busybox there, a hello-world, and an alpine:3.10 with the user postgres of old ones."""
    layered.push(images.busybox_docker_archive(), registry, "library/busybox:latest")
    hello = scratch / "hello.tar"
    layered.archive(hello, "hello-world:latest", 2)
    layered.push(hello, registry, "library/hello-world:latest")
    alpine = scratch / "alpine.tar"
    alpine.write_bytes(_with_postgres())
    layered.push(alpine, registry, "library/alpine:3.10")


def _with_postgres() -> bytes:
    with tarfile.open(images.alpine_docker_archive()) as tar:

        def read(member: str) -> bytes:
            return cast("IO[bytes]", tar.extractfile(member)).read()

        (listed,) = json.loads(read("manifest.json"))
        config = json.loads(read(listed["Config"]))
        (layer,) = map(read, listed["Layers"])
    users = _member(layer, "etc/passwd") + b"postgres:x:70:70::/:/bin/sh\n"
    config.pop("history", None)
    added = layered.tar_of({"etc/passwd": users})
    return layered.docker_archive("alpine:3.10", config, [layer, added])


def _member(layer: bytes, name: str) -> bytes:
    import io

    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        names = {n.removeprefix("./"): n for n in tar.getnames()}
        return cast("IO[bytes]", tar.extractfile(names[name])).read()
