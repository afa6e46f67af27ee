"""Images: a line of the list, an inspection, the lines of a removal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import versions
from cgagent.engine.imageselection import created_s
from cgagent.engine.values import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.api.docker.versions import Version
    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Image

_EMPTY_CONFIG: Final[dict[str, Any]] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": [],
    "Cmd": [],
    "Image": "",
    "Volumes": {},
    "WorkingDir": "",
    "Entrypoint": [],
    "OnBuild": [],
    "Labels": {},
}
_LEFT_OUT: Final = frozenset({"Parent", "Comment", "DockerVersion", "Author"})
_NONE: Final = "<none>"


def tags(image: Image) -> list[str]:
    return list(image.tags)


def digests(image: Image) -> list[str]:
    named = map(parse_reference, image.names)
    return [f"{n.familiar_name}@{n.digest}" for n in named if n.digest]


def summary(image: Image, version: Version, *, shared: int = -1, users: int = -1) -> dict[str, Any]:
    has_names = version >= (1, 43) or image.names
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": tags(image) if has_names else [f"{_NONE}:{_NONE}"],
        "RepoDigests": digests(image) if has_names else [f"{_NONE}@{_NONE}"],
        "Created": int(created_s(image)),
        "Size": image.size_bytes,
        **({"VirtualSize": image.size_bytes} if versions.has_virtual_size(version) else {}),
        "SharedSize": shared,
        "Labels": dict(image.config.labels),
        "Containers": users,
    }


def inspect(engine: Engine, image: Image, version: Version) -> dict[str, Any]:
    document = json.loads(engine.images.config_of(image))
    history = engine.images.history(image)
    config = document.get("config") or {}
    found = {
        "Id": image.id,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Parent": "",
        "Comment": document.get("comment") or (history[0].comment if history else ""),
        "Created": document.get("created") or "0001-01-01T00:00:00Z",
        "DockerVersion": document.get("docker_version") or "",
        "Author": document.get("author") or "",
        "Config": config,
        "Architecture": image.architecture,
        **({"Variant": document["variant"]} if document.get("variant") else {}),
        "Os": document.get("os") or "linux",
        **({"OsVersion": document["os.version"]} if document.get("os.version") else {}),
        "Size": image.size_bytes,
        **({"VirtualSize": image.size_bytes} if versions.has_virtual_size(version) else {}),
        "GraphDriver": {"Name": engine.images.storage_driver, "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }
    if versions.has_empty_image_fields(version):
        known = {name: value for name, value in config.items() if value is not None}
        return {**found, "Config": {**_EMPTY_CONFIG, **known}}
    return {
        **{name: value for name, value in found.items() if value or name not in _LEFT_OUT},
        "Config": {n: value for n, value in config.items() if value or n not in _EMPTY_CONFIG},
    }


def removal(lines: Iterable[str]) -> list[dict[str, str]]:
    return [dict([line.split(": ", 1)]) for line in lines]
