"""Kernel parameters of a container's own namespaces (``linux.sysctl``).

Written by its first process before any of its mounts is there, through a /proc that is known to
be one (CVE-2025-52881).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Mapping

_IPC: Final = frozenset(
    {
        *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
        *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
    }
)


def apply(parameters: Mapping[str, str], private: frozenset[str]) -> None:
    """Set them in the namespaces this process is in; `private` has those that are not the host's.

    Raises:
        InvalidInputError: one that would change the host, or a value the kernel refuses.
    """
    if not parameters:
        return
    root = procfs.open_root()
    try:
        for name, value in parameters.items():
            check(name, private)
            _write(root, name, value)
    finally:
        os.close(root)


def _write(root: int, name: str, value: str) -> None:
    try:
        procfs.write(root, f"sys/{path_of(name)}", value)
    except OSError as e:
        reason = os.strerror(e.errno or 0).lower()
        raise InvalidInputError(f"sysctl {name}={value}: {reason}") from e


def check(name: str, private: frozenset[str]) -> None:
    """Raises InvalidInputError unless the parameter belongs to one of the namespaces."""
    kind = namespace_of(path_of(name).replace("/", "."))
    if kind is None:
        raise InvalidInputError(
            f"sysctl {name} belongs to the host: no namespace has one of its own"
        )
    if kind not in private:
        raise InvalidInputError(f"sysctl {name} needs a {kind} namespace that is not the host's")


def namespace_of(dotted: str) -> str | None:
    """The kind of namespace that has the parameter, None if the whole machine shares it."""
    if dotted.startswith("net."):
        return "network"
    if dotted in _IPC or dotted.startswith("fs.mqueue."):
        return "ipc"
    if dotted in {"kernel.domainname", "kernel.hostname"}:
        return "uts"
    return "user" if dotted.startswith("user.") else None


def path_of(name: str) -> str:
    """Below /proc/sys. As in sysctl(8), the first separator tells which of "." and "/" is one."""
    dot, slash = name.find("."), name.find("/")
    if slash < 0 or 0 <= dot < slash:
        name = name.translate({ord("."): "/", ord("/"): "."})
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise InvalidInputError(f"sysctl {name!r} is not a name of a kernel parameter")
    return name
