"""Images of many layers: busybox, and on it layers that each bring files and replace one."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import tarfile
from typing import IO, TYPE_CHECKING, Any, cast

from tests.world import debian, images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.world.registry import Registry


def tar_of(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def archive(path: Path, name: str, count: int, files: int = 1, file_bytes: int = 1) -> None:
    """An image of `count` layers as ``docker save`` would write it.

    Layer N on top of busybox's has the files ``/many/N.0`` and on, and ``/last`` with N in it.
    """
    with tarfile.open(images.busybox_docker_archive()) as tar:

        def read(member: str) -> bytes:
            return cast("IO[bytes]", tar.extractfile(member)).read()

        (listed,) = json.loads(read("manifest.json"))
        config = json.loads(read(listed["Config"]))
        layers = [read(layer) for layer in listed["Layers"]]
    source = random.Random(count)  # noqa: S311 -- content of no meaning
    for n in range(count - len(layers)):
        content = {f"many/{n}.{i}": source.randbytes(file_bytes) for i in range(files)}
        layers.append(tar_of({**content, "last": str(n).encode()}))
    config.pop("history", None)
    path.write_bytes(docker_archive(name, config, layers))


def docker_archive(name: str, config: dict[str, Any], layers: Sequence[bytes]) -> bytes:
    """What ``docker save`` would write of an image with these layers, which are plain tars.

    The configuration is given their diff ids.
    """
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    whole = {**config, "rootfs": {"type": "layers", "diff_ids": digests}}
    names = [f"{n}/layer.tar" for n, _ in enumerate(layers)]
    listed = [{"Config": "c.json", "RepoTags": [name], "Layers": names}]
    small = {"manifest.json": json.dumps(listed).encode(), "c.json": json.dumps(whole).encode()}
    return tar_of({**small, **dict(zip(names, layers, strict=True))})


def push(path: Path, registry: Registry, name: str) -> str:
    """By skopeo, out of an archive; the name to pull it by."""
    debian.install("skopeo")
    target = f"{registry.address}/{name}"
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"docker-archive:{path}", f"docker://{target}"], check=True)
    return target
