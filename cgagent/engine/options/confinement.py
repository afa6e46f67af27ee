"""What a container may do: Docker's flags for it, checked, and what they come to.

`Confinement` is the part of a `ContainerConfig` that says so, in Docker's own terms. The functions
here turn it into the terms of the OCI configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final

from cgagent.bounds import BOUNDED
from cgagent.engine.options import devices
from cgagent.engine.options.devices import Device  # noqa: TC001 - pydantic reads it
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.kernel.capabilities import NAMES as ALL_CAPABILITIES
from cgagent.runtime.container import lsm, sysctl
from cgagent.runtime.seccomp import default as seccomp
from cgagent.runtime.seccomp import profile_file as seccomp_file
from cgagent.runtime.spec import Privileges, Rlimit
from cgagent.runtime.spec.defaults import CAPABILITIES
from cgagent.runtime.spec.process import INFINITY

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALL: Final = "ALL"
_LIMITS: Final = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
_OOM_SCORES: Final = range(-1000, 1001)
_UMASKS: Final = range(0o1000)
_MAX_ID: Final = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """`name` as ``ulimit`` has it, such as nofile; -1 is no limit."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, kw_only=True)
class Confinement:
    privileged: bool = False
    cap_add: Annotated[tuple[str, ...], BOUNDED] = ()
    cap_drop: Annotated[tuple[str, ...], BOUNDED] = ()
    security_opt: Annotated[tuple[str, ...], BOUNDED] = ()
    """As Docker's API has them; a seccomp profile is given by its text: ``seccomp={...}``."""
    devices: Annotated[tuple[Device, ...], BOUNDED] = ()
    device_cgroup_rules: Annotated[tuple[str, ...], BOUNDED] = ()
    ulimits: Annotated[tuple[Ulimit, ...], BOUNDED] = ()
    sysctls: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)
    group_add: Annotated[tuple[str, ...], BOUNDED] = ()
    oom_score_adj: int | None = None
    umask: int | None = None
    """Of its processes; None: the runtime's usual one, 0o022."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What ``--security-opt`` says, one by one."""

    no_new_privileges: bool = False
    seccomp: str | None = None
    """A profile's text, or one of the names in `seccomp`; None: nothing was said."""
    apparmor: str | None = None
    system_paths_unconfined: bool = False


def capability_names(names: Iterable[str]) -> tuple[str, ...]:
    """In the kernel's spelling, or ALL. Raises InvalidInputError."""
    return tuple(map(_capability, names))


def check(c: Confinement, private: frozenset[str]) -> None:
    """Can it be had? `private`: the kinds of namespaces that are not the host's.

    Raises:
        InvalidInputError: a name or value that nothing can be made of, a device not there.
        UnsupportedError: an option this host has no security module for.
    """
    security = parse_security(c.security_opt)
    if security.seccomp not in {None, seccomp.DEFAULT, seccomp.UNCONFINED}:
        seccomp_file.resolve(security.seccomp or "", ALL_CAPABILITIES)
    for name in c.sysctls:
        sysctl.check(name, private)
    for limit in c.ulimits:
        _check_ulimit(limit)
    for group in c.group_add:
        _check_group(group)
    if c.oom_score_adj is not None and c.oom_score_adj not in _OOM_SCORES:
        raise InvalidInputError(f"oom score adjustment {c.oom_score_adj} is not in [-1000, 1000]")
    if c.umask is not None and c.umask not in _UMASKS:
        raise InvalidInputError(f"umask {c.umask} is not in [0, 511], which is 0777 in octal")
    devices.rules(c.devices, c.device_cgroup_rules, privileged=c.privileged)


def _capability(name: str) -> str:
    upper = name.upper()
    if upper == _ALL:
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in ALL_CAPABILITIES:
        raise InvalidInputError(f"unknown capability: {name!r}; see capabilities(7), or use ALL")
    return full


def capabilities(c: Confinement) -> tuple[str, ...]:
    """The effective set, by docker's rules: ALL added is all but the dropped ones."""
    if c.privileged:
        return ALL_CAPABILITIES
    if _ALL in c.cap_add:
        return tuple(name for name in ALL_CAPABILITIES if name not in c.cap_drop)
    kept = () if _ALL in c.cap_drop else tuple(n for n in CAPABILITIES if n not in c.cap_drop)
    return tuple(dict.fromkeys((*kept, *c.cap_add)))


def parse_security(options: Iterable[str]) -> SecurityOptions:
    """Raises InvalidInputError, UnsupportedError."""
    values = SecurityOptions()
    for option in options:
        name, separator, value = option.partition("=")
        if not separator:  # docker's older spelling
            name, separator, value = option.partition(":")
        values = _with_option(values, option, name, value if separator else None)
    return values


def _with_option(
    values: SecurityOptions, option: str, name: str, value: str | None
) -> SecurityOptions:
    if name == "no-new-privileges" and value in {None, "true", "false"}:
        return replace(values, no_new_privileges=value != "false")
    if name == "seccomp" and value:
        choice = seccomp.DEFAULT if value == "builtin" else value
        return replace(values, seccomp=choice)
    if name == "apparmor" and value:
        return replace(values, apparmor=_apparmor(value))
    if name == "systempaths" and value == "unconfined":
        return replace(values, system_paths_unconfined=True)
    if name == "label" and value:
        _check_label(value)
        return values
    raise InvalidInputError(
        f"security option {option[:80]!r} is not known: no-new-privileges, seccomp=unconfined, "
        "seccomp=PROFILE, apparmor=PROFILE, label=disable, systempaths=unconfined are"
    )


def _apparmor(profile: str) -> str | None:
    if profile == "unconfined":  # as every container is that names none
        return None
    if not lsm.has_apparmor():
        raise UnsupportedError(f"apparmor={profile}: this host has no AppArmor")
    return profile


def _check_label(value: str) -> None:
    if value != "disable":
        raise UnsupportedError(
            f"label={value}: SELinux labels are not there yet; use label=disable"
        )


def _check_ulimit(limit: Ulimit) -> None:
    if limit.name not in _LIMITS:
        raise InvalidInputError(f"invalid ulimit type: {limit.name!r}; one of {', '.join(_LIMITS)}")
    if min(limit.soft, limit.hard) < -1 or max(limit.soft, limit.hard) > INFINITY:
        raise InvalidInputError(f"ulimit {limit.name}: a number of limits is -1 or not negative")
    if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
        raise InvalidInputError(
            f"ulimit {limit.name}: the soft limit must be less than or equal to the hard limit: "
            f"{limit.soft} > {limit.hard}"
        )


def _check_group(group: str) -> None:
    if not group or "\0" in group or (group.isdecimal() and int(group) > _MAX_ID):
        raise InvalidInputError(f"group {group[:40]!r} is not a group's name or number")


def privileges(c: Confinement) -> Privileges:
    security = parse_security(c.security_opt)
    return Privileges(
        capabilities=capabilities(c),
        no_new_privileges=security.no_new_privileges,
        apparmor_profile=security.apparmor,
        rlimits=tuple(
            Rlimit(f"RLIMIT_{u.name.upper()}", _unsigned(u.soft), _unsigned(u.hard))
            for u in c.ulimits
        ),
        oom_score_adj=_oom_score(c),
        groups=c.group_add,
        umask=c.umask,
    )


def _oom_score(c: Confinement) -> int | None:
    """None leaves the agent's; but how it is spared itself as a service is not for containers."""
    if c.oom_score_adj is None and _own_oom_score() < 0:
        return 0
    return c.oom_score_adj


@cache
def _own_oom_score() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


def _unsigned(limit: int) -> int:
    return INFINITY if limit == -1 else limit


def seccomp_choice(c: Confinement) -> str:
    """For `Plan.seccomp`. A privileged container has no filter unless one is asked for."""
    asked = parse_security(c.security_opt).seccomp
    if asked is not None:
        return asked
    return seccomp.UNCONFINED if c.privileged else seccomp.DEFAULT


def hides_kernel_files(c: Confinement) -> bool:
    return not (c.privileged or parse_security(c.security_opt).system_paths_unconfined)
