"""``/system/df``: what images, containers and volumes take on disk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import versions
from cgagent.api.docker.shapes import containers as container_shapes
from cgagent.api.docker.shapes import images as image_shapes
from cgagent.engine.observe.sizes import Size

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.api.docker.versions import Version
    from cgagent.engine.engine import Engine


_SHORT: Final = {
    "images": "Image",
    "containers": "Container",
    "volumes": "Volume",
    "builds": "BuildCache",
}


def usage(
    engine: Engine,
    found: dict[str, Any],
    version: Version,
    wanted: Collection[str],
    *,
    verbose: bool,
) -> dict[str, Any]:
    """`found` is what the engine says; `wanted` of containers, images, volumes, builds."""
    items = {
        "images": _images(engine, found, version),
        "containers": _containers(engine, found, version),
        "volumes": _volumes(engine, found),
        "builds": _builds(found),
    }
    shown: dict[str, Any] = {}
    if versions.has_old_disk_usage(version) and not verbose:
        shown["LayersSize"] = found["layers_bytes"]
        for kind in wanted:
            shown["BuildCache" if kind == "builds" else kind.capitalize()] = items[kind]
    if versions.has_new_disk_usage(version):
        for kind in wanted:
            shown[f"{_SHORT[kind]}Usage"] = {
                **_sums(kind, found),
                **({"Items": items[kind]} if verbose else {}),
            }
    return shown


def _sums(kind: str, found: dict[str, Any]) -> dict[str, int]:
    entries = found[kind]
    if kind == "images":
        active = [e for e in entries if e["containers"]]
        total, free = found["layers_bytes"], found["reclaimable_bytes"]
    elif kind == "containers":
        active = [e for e in entries if e["running"]]
        total = sum(e["size_rw_bytes"] or 0 for e in entries)
        free = total - sum(e["size_rw_bytes"] or 0 for e in active)
    elif kind == "builds":
        active = [e for e in entries if e["in_use"]]
        total = sum(e["size_bytes"] for e in entries)
        free = total - sum(e["size_bytes"] for e in active)
    else:
        active = [e for e in entries if e["containers"]]
        total = sum(e["size_bytes"] for e in entries)
        free = total - sum(e["size_bytes"] for e in active)
    return {
        "ActiveCount": len(active),
        "TotalCount": len(entries),
        "Reclaimable": free,
        "TotalSize": total,
    }


def _images(engine: Engine, found: dict[str, Any], version: Version) -> list[dict[str, Any]]:
    by_id = {image.id: image for image in engine.images.all()}
    return [
        image_shapes.summary(
            by_id[entry["id"]], version, shared=entry["shared_bytes"], users=entry["containers"]
        )
        for entry in found["images"]
        if entry["id"] in by_id
    ]


def _containers(engine: Engine, found: dict[str, Any], version: Version) -> list[dict[str, Any]]:
    shown = []
    for entry in found["containers"]:
        container = engine.containers.get(entry["id"])
        if container is not None:
            size = Size(written=entry["size_rw_bytes"], whole=entry["size_rw_bytes"])
            shown.append(container_shapes.summary(engine, container, version, size))
    return shown


def _volumes(engine: Engine, found: dict[str, Any]) -> list[dict[str, Any]]:
    from cgagent.api.docker.volumes import shape

    sizes = {entry["name"]: entry for entry in found["volumes"]}
    return [
        {
            **shape(volume),
            "UsageData": {
                "Size": sizes[volume.name]["size_bytes"],
                "RefCount": sizes[volume.name]["containers"],
            },
        }
        for volume in engine.volumes.all()
        if volume.name in sizes
    ]


def _builds(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "ID": entry["id"],
            "Parents": [],
            "Type": "exec.cachemount" if entry["kind"] == "cache mount" else "regular",
            "Description": entry["description"],
            "InUse": entry["in_use"],
            "Shared": entry["shared"],
            "Size": entry["size_bytes"],
            "CreatedAt": _date(entry["created_s"]),
            "LastUsedAt": _date(entry["used_s"]),
            "UsageCount": entry["uses"],
        }
        for entry in found["builds"]
    ]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
