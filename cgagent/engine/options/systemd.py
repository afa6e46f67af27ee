"""systemd as a container's first process: whether the host lets it be one.

It mounts a hierarchy of its own, ``name=systemd``, where the host has cgroup v1, and stands still
for good when it may not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cgagent.errors import UnsupportedError

if TYPE_CHECKING:
    from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig

_PROGRAM: Final = "systemd"
_INIT: Final = frozenset({"/sbin/init", "/usr/sbin/init", "/bin/init", "/usr/bin/init"})
_ITS_STOP_SIGNAL: Final = "RTMIN+3"
_CGROUPS: Final = "/sys/fs/cgroup"


def require_possible(config: ContainerConfig, resolved: ResolvedConfig, *, has_v1: bool) -> None:
    """Raises UnsupportedError: systemd is to run, and could not on a host that `has_v1`."""
    if not has_v1 or not _is_systemd(resolved):
        return
    may_mount = config.privileged or _may_mount(config.cap_add)
    given = any(f"{_CGROUPS}/".startswith(f"{m.destination}/") for m in resolved.mounts)
    if not may_mount and not given:
        raise UnsupportedError(
            f"command {resolved.args[0]!r} is systemd, which needs cgroup v2 or a hierarchy of its "
            "own on this host of cgroup v1; boot with systemd.unified_cgroup_hierarchy=1, or give "
            f"it the host's (-v {_CGROUPS}:{_CGROUPS}), or use --privileged"
        )


def _is_systemd(resolved: ResolvedConfig) -> bool:
    """By its name; ``init`` may be another's, but hardly with the signal systemd is stopped by."""
    command = resolved.args[0]
    stopped_by = resolved.stop_signal.upper().removeprefix("SIG")
    named = os.path.basename(command) == _PROGRAM
    return named or (command in _INIT and stopped_by in {_ITS_STOP_SIGNAL, "37"})


def _may_mount(added: tuple[str, ...]) -> bool:
    names = {name.upper().removeprefix("CAP_") for name in added}
    return bool(names & {"ALL", "SYS_ADMIN"})
