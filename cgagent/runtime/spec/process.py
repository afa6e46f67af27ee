"""The ``process`` object of the OCI configuration: a command, who runs it, what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.kernel.capabilities import NAMES as ALL_CAPABILITIES
from cgagent.runtime.spec import defaults

if TYPE_CHECKING:
    from collections.abc import Iterable

INFINITY: Final = 2**64 - 1
"""RLIM_INFINITY, as the specification's unsigned numbers have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A command to run in a container. `user` is ``USER[:GROUP]`` in the container's files."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    """Rows and columns of the terminal."""


@dataclass(frozen=True, slots=True)
class Rlimit:
    """A resource limit; `type` is the kernel's name, such as RLIMIT_NOFILE."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Privileges:
    """What a container's processes may do. The defaults are those of an ordinary container."""

    capabilities: tuple[str, ...] = defaults.CAPABILITIES
    no_new_privileges: bool = False
    apparmor_profile: str | None = None
    rlimits: tuple[Rlimit, ...] = ()
    oom_score_adj: int | None = None
    groups: tuple[str, ...] = ()
    """Further groups, each a number or a name in the container's /etc/group."""
    umask: int | None = None


def process(p: Process, privileges: Privileges) -> dict[str, Any]:
    """The ``process`` object. What nobody asked for is left out of it."""
    asked = {
        "rlimits": [{"type": r.type, "soft": r.soft, "hard": r.hard} for r in privileges.rlimits],
        "oomScoreAdj": privileges.oom_score_adj,
        "apparmorProfile": privileges.apparmor_profile,
    }
    return {
        **_terminal(p),
        "user": _user(p.user, privileges),
        "args": list(p.args),
        "env": list(p.env),
        "cwd": p.cwd,
        "capabilities": _sets(privileges.capabilities),
        "noNewPrivileges": privileges.no_new_privileges,
        **{name: value for name, value in asked.items() if value not in (None, [])},
    }


def exec_process(container: dict[str, Any], p: Process, *, privileged: bool) -> dict[str, Any]:
    """For a command run inside: all that the container's own ``process`` object says but `p`.

    `privileged`: with every capability; the container's filter of system calls stays.
    """
    values = {
        **{name: value for name, value in container.items() if name != "consoleSize"},
        **_terminal(p),
        "user": {**container["user"], "username": p.user},
        "args": list(p.args),
        "env": list(p.env),
        "cwd": p.cwd,
    }
    if privileged:
        values["capabilities"] = _sets(ALL_CAPABILITIES)
        values.pop("apparmorProfile", None)
    return values


def _terminal(p: Process) -> dict[str, Any]:
    size = p.console_size
    shown = {} if size is None else {"consoleSize": {"height": size[0], "width": size[1]}}
    return {"terminal": p.terminal, **shown}


def _user(name: str, privileges: Privileges) -> dict[str, Any]:
    """Names are looked up in the container's files: `username` and `additionalGroups` are ours."""
    user: dict[str, Any] = {"uid": 0, "gid": 0, "username": name}
    numbers = [int(g) for g in privileges.groups if g.isdecimal()]
    names = [g for g in privileges.groups if not g.isdecimal()]
    if privileges.umask is not None:
        user["umask"] = privileges.umask
    if numbers:
        user["additionalGids"] = numbers
    if names:
        user["additionalGroups"] = names
    return user


def _sets(capabilities: Iterable[str]) -> dict[str, list[str]]:
    """Inheritable and ambient stay empty (CVE-2022-24769)."""
    names = list(capabilities)
    return {"bounding": names, "effective": names, "permitted": names}
