"""Labels of security modules for a container's process: AppArmor's profile, SELinux's label.

The attribute file is opened while the host's /proc is the one in sight, and written just before
exec, by the descriptor.
"""

from __future__ import annotations

import os
from typing import Any

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.kernel import procfs


def has_apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as f:
            return f.read(1) == "Y"
    except FileNotFoundError:
        return False


def has_selinux() -> bool:
    return os.path.exists("/sys/fs/selinux/enforce")


class Label:
    """What exec shall change the process's label to."""

    def __init__(self, descriptor: int, text: str) -> None:
        self._descriptor = descriptor
        self._text = text

    def write(self) -> None:
        try:
            os.write(self._descriptor, self._text.encode())
        except OSError as e:
            reason = os.strerror(e.errno or 0).lower()
            raise InvalidInputError(f"security label {self._text!r}: {reason}") from e
        finally:
            os.close(self._descriptor)


def open_label(process: dict[str, Any], proc_root: int) -> Label | None:
    """Of a ``process`` object; None if it asks for none.

    Raises:
        UnsupportedError: this host has no such security module.
    """
    if profile := process.get("apparmorProfile"):
        if not has_apparmor():
            raise UnsupportedError(f"apparmorProfile {profile!r}: this host has no AppArmor")
        return Label(_open(proc_root, "attr/apparmor/exec", "attr/exec"), f"exec {profile}")
    if label := process.get("selinuxLabel"):
        if not has_selinux():
            raise UnsupportedError(f"selinuxLabel {label!r}: this host has no SELinux")
        return Label(_open(proc_root, "attr/exec"), label)
    return None


def _open(proc_root: int, *names: str) -> int:
    for name in names[:-1]:
        try:
            return procfs.open_own(proc_root, name, os.O_WRONLY)
        except FileNotFoundError:  # before Linux 5.8
            continue
    return procfs.open_own(proc_root, names[-1], os.O_WRONLY)
