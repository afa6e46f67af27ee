"""Our OCI configuration in the words every OCI runtime knows.

Ours names users and groups as the container's own files do, and each cgroup hierarchy; and it
leaves out what our own runtime has anyway. Pure but for the look-up of names in the root.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.kernel import beneath
from cgagent.kernel import mount as km
from cgagent.runtime.container import identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.runtime.container.identity import Identity

_CGROUPS: Final = "/sys/fs/cgroup"
_VERSION: Final = "1.0.2"
"""There is nothing newer in ours, and a runtime of that time refuses a later one."""
_DENY_ALL: Final = {"allow": False, "access": "rwm"}


def container(config: dict[str, Any], root: int, root_path: str) -> dict[str, Any]:
    """For ``create``; `root` is a descriptor of what is mounted at `root_path`."""
    linux = dict(config["linux"])
    rules = (linux.get("resources") or {}).get("devices") or [_DENY_ALL]
    linux["resources"] = {"devices": rules}
    linux["readonlyPaths"] = [p for p in linux.get("readonlyPaths") or () if p != _CGROUPS]
    return {
        **config,
        "ociVersion": _VERSION,
        "process": process(config["process"], root),
        "root": {**config["root"], "path": root_path},
        "mounts": list(_mounts(config["mounts"])),
        "linux": linux,
    }


def process(value: dict[str, Any], root: int) -> dict[str, Any]:
    """A ``process`` object with numbers for names, for ``create`` and ``exec``."""
    who = _identity(value, root)
    own = {"uid": who.uid, "gid": who.gid, "additionalGids": sorted(set(who.groups))}
    user = {**(value.get("user") or {}), **own}
    user.pop("username", None)
    user.pop("additionalGroups", None)
    env = list(value.get("env") or ())
    if not any(item.startswith("HOME=") for item in env):
        env.append(f"HOME={who.home}")
    changed = {**value, "user": user, "env": env}
    if who.uid and "capabilities" in value:  # as Docker: a user who is not root has none
        changed["capabilities"] = {**value["capabilities"], "effective": [], "permitted": []}
    return changed


def _identity(value: dict[str, Any], root: int) -> Identity:
    """As the container's own files have it, which are opened beneath its root."""
    user = value.get("user") or {}
    files = [_open(root, path) for path in ("/etc/passwd", "/etc/group")]
    users, groups = map(km.fd_path, files)
    try:
        extra = [*(user.get("additionalGids") or ())]
        extra += [identity.group_id(g, groups) for g in user.get("additionalGroups") or ()]
        found = identity.look_up(user.get("username", ""), users, groups)
        return replace(found, groups=(*found.groups, *extra))
    finally:
        for fd in files:
            os.close(fd)


def _open(root: int, path: str) -> int:
    """Empty where the container has no such file."""
    try:
        return beneath.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def _mounts(mounts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One mount of type ``cgroup`` for all hierarchies: each runtime knows what that means."""
    for entry in mounts:
        if entry["type"] in {"cgroup", "cgroup2"} or entry["destination"] == _CGROUPS:
            if entry["type"] == "cgroup2" and entry["destination"] == _CGROUPS:
                yield {**entry, "type": "cgroup"}
            elif entry["type"] == "bind":
                yield entry
        else:
            yield entry
