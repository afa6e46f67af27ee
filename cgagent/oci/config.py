"""Reading a bundle's configuration, and putting it into the form the steps carry out."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups.hierarchy import checked_path
from cgagent.errors import InvalidInputError, NotFoundError, UnsupportedError
from cgagent.kernel import capabilities as caps
from cgagent.oci import store
from cgagent.runtime.container.isolation import Isolation, mappings
from cgagent.runtime.protocol import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Host

_PARENT: Final = "/cgagent-oci"
_VERSION: Final = re.compile(r"1\.\d+\.\d+([-+].+)?")


def load(bundle: str) -> dict[str, Any]:
    """Of the bundle's directory.

    Raises:
        NotFoundError: no bundle, or no root file system in it.
        InvalidInputError: no configuration of this specification.
    """
    config = store.read_json(os.path.join(bundle, CONFIG_FILE))
    version = config.get("ociVersion")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise InvalidInputError(f"{CONFIG_FILE}: ociVersion {version!r} is not a version 1.x")
    root = (config.get("root") or {}).get("path")
    if not root:
        raise InvalidInputError(f"{CONFIG_FILE}: root.path is missing")
    if not os.path.isdir(rootfs(config, bundle)):
        raise NotFoundError(f"root file system {rootfs(config, bundle)} is not a directory")
    linux = config.setdefault("linux", {})
    isolation = Isolation.from_oci(linux.get("namespaces") or ())
    mapped = mappings(linux, "linux") is not None
    if mapped and not isolation.is_user_private:
        raise InvalidInputError("linux.uidMappings: they need a user namespace")
    if "user" in isolation.own and not mapped:
        raise InvalidInputError("a user namespace needs linux.uidMappings and linux.gidMappings")
    if config.get("process") is not None:
        check_process(config["process"])
    for name in ("maskedPaths", "readonlyPaths"):
        for path in linux.get(name) or ():
            if not path.startswith("/"):
                raise InvalidInputError(f"linux.{name}: {path!r} must be an absolute path")
    _check_annotations(config.get("annotations") or {})
    return config


def _check_annotations(annotations: Any) -> None:
    if not isinstance(annotations, dict) or "" in annotations:
        raise InvalidInputError("annotations: they are a map, and no key is empty")
    for key, value in annotations.items():
        if not isinstance(value, str):
            raise InvalidInputError(f"annotations: {key!r} must have a string")


def leave_out_ungrantable(
    process: dict[str, Any], isolation: Isolation, warn: Callable[[str], None]
) -> None:
    """Of a process's capabilities: a name that is none, and what we have not ourselves.

    Each is a warning, and no error, as the specification has it. In a user namespace of its own a
    process has all.
    """
    ours = caps.held_by_us()
    left_out = set()
    for names in (process.get("capabilities") or {}).values():
        for name in list(names or ()):
            known = name in caps.NAMES
            if not known or not (isolation.is_user_private or caps.mask([name]) & ours):
                names.remove(name)
                left_out.add(
                    f"capability {name!r} {'cannot be granted' if known else 'is not known'}"
                )
    for message in sorted(left_out):
        warn(message)


def check_process(process: dict[str, Any]) -> None:
    """Raises InvalidInputError. Takes out the user's name, which is for other systems."""
    if not process.get("args"):
        raise InvalidInputError("process.args is empty")
    if not str(process.get("cwd", "")).startswith("/"):
        raise InvalidInputError(f"process.cwd {process.get('cwd')!r} must be an absolute path")
    (process.get("user") or {}).pop("username", None)


def rootfs(config: dict[str, Any], bundle: str) -> str:
    return os.path.realpath(os.path.join(bundle, config["root"]["path"]))


def cgroup_path(config: dict[str, Any], container_id: str) -> str:
    """``linux.cgroupsPath``, the same below each hierarchy's root.

    Raises:
        UnsupportedError: it is in systemd's form.
    """
    path = config["linux"].get("cgroupsPath")
    if not path:
        return f"{_PARENT}/{container_id}"
    if ":" in path and "/" not in path:
        raise UnsupportedError(
            f"cgroupsPath {path!r}: systemd is not asked for its slices; give a path, or use "
            "the cgroupfs manager (podman: --cgroup-manager cgroupfs, containerd: "
            "SystemdCgroup = false)"
        )
    return checked_path("/" + path.strip("/"))


def expand_cgroup_mounts(config: dict[str, Any], host: Host, path: str) -> None:
    """Mounts of type ``cgroup`` mean all hierarchies that the group is in: name each.

    With a cgroup namespace of its own a container's group is the root of what it sees; without
    one, its own group's directory is bound, so that it sees no other.
    """
    isolation = Isolation.from_oci(config["linux"].get("namespaces") or ())
    expanded: list[dict[str, Any]] = []
    for entry in config.get("mounts") or ():
        if entry.get("type") == "cgroup":
            expanded += _hierarchies(entry, host, path, own="cgroup" in isolation.own)
        else:
            expanded.append(entry)
    config["mounts"] = expanded


def _hierarchies(
    entry: dict[str, Any], host: Host, path: str, *, own: bool
) -> list[dict[str, Any]]:
    words = [o for o in entry.get("options") or () if o not in {"bind", "rbind"}]
    where = entry["destination"]
    unified = host.unified.mount if host.unified else None
    if not host.v1_mounts:
        if own or unified is None:
            return [{**entry, "type": "cgroup2", "source": "cgroup", "options": words}]
        bound = {**entry, "type": "bind", "source": unified + path, "options": ["bind", *words]}
        return [bound]
    writable = [o for o in words if o != "ro"]
    tmpfs = {"type": "tmpfs", "source": "tmpfs", "options": [*writable, "mode=755"]}
    found = [{"destination": where, **tmpfs}]
    joined = [m for m in host.v1_mounts if os.path.isdir(m + path)]
    for mount in (*joined, *([unified] if unified else [])):
        below = {"destination": f"{where}/{os.path.basename(mount)}"}
        if own:
            names = [n for n, p in host.placements.items() if p.mount == mount and p.version == 1]
            data = ",".join("blkio" if n == "io" else n for n in names)
            kind = "cgroup2" if mount == unified else "cgroup"
            options = [*words, *([data] if data and mount != unified else [])]
            found.append({**below, "type": kind, "source": "cgroup", "options": options})
        else:
            bind = {"type": "bind", "source": mount + path, "options": ["bind", *words]}
            found.append({**below, **bind})
    if "ro" in words:
        again = {"type": "none", "source": "none", "options": ["remount", "bind", "ro"]}
        found.append({"destination": where, **again})
    return found
