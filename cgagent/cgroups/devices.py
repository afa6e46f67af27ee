"""Which devices the tasks of a group may use: v1's devices controller, on cgroup2 a program.

Rules are applied to a closed group in order, with v1's meaning on both (`settle`).
cgroup2 has no devices controller: there the same rules become an eBPF program attached to the
group (Linux 4.15, CAP_BPF and CAP_NET_ADMIN or CAP_SYS_ADMIN).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.device_rule import DeviceRule, Kind
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINER_DEVICES: Final = tuple(
    map(
        DeviceRule.parse,
        (
            "c *:* m",  # making a node is harmless where opening it is denied
            "b *:* m",
            "c 1:3 rwm",  # null
            "c 1:5 rwm",  # zero
            "c 1:7 rwm",  # full
            "c 1:8 rwm",  # random
            "c 1:9 rwm",  # urandom
            "c 5:0 rwm",  # tty
            "c 5:1 rwm",  # console
            "c 5:2 rwm",  # ptmx
            "c 136:* rwm",  # pts
        ),
    )
)
"""What a container may use unless it is told otherwise; everything else is denied."""


def settle(rules: Iterable[DeviceRule]) -> tuple[bool, list[DeviceRule]]:
    """What rules add up to: whether all else is allowed, and the exceptions from that.

    Accesses to one device add up over its rules, and a rule against the present default takes
    back what an exception for exactly the same device gave, as v1 does it.

    Raises:
        InvalidInputError: taking back part of a wider exception; v1 would ignore that.
    """
    default = False
    exceptions: dict[tuple[Kind, int | None, int | None], frozenset[str]] = {}
    for rule in rules:
        key = (rule.kind, rule.major, rule.minor)
        if rule.kind == "a":
            default, exceptions = rule.allow, {}
        elif rule.allow != default:
            exceptions[key] = exceptions.get(key, frozenset()) | frozenset(rule.access)
        elif key in exceptions:
            exceptions[key] -= frozenset(rule.access)
        elif wider := next((other for other in exceptions if _overlap(key, other)), None):
            raise InvalidInputError(
                f"device rule {str(rule)!r}: it takes back part of "
                f"{str(DeviceRule(*wider))!r}: give rules that do not overlap"
            )
    return default, [
        DeviceRule(*key, "".join(letter for letter in "rwm" if letter in access), not default)
        for key, access in exceptions.items()
        if access
    ]


def _overlap(
    one: tuple[Kind, int | None, int | None], other: tuple[Kind, int | None, int | None]
) -> bool:
    return one[0] == other[0] and all(
        a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True)
    )


def restrict_v1(directory: str, rules: Iterable[DeviceRule]) -> None:
    """Set the default for all devices, then the exceptions.

    Raises:
        DeniedError: no privilege, or the parent group does not have the device itself.
        InvalidInputError: the group has children, which v1 does not change with it.
    """
    default, exceptions = settle(rules)
    for rule in (DeviceRule("a", allow=default), *exceptions):
        path = f"{directory}/devices.{'allow' if rule.allow else 'deny'}"
        try:
            files.write(path, str(rule))
        except OSError as error:
            advice = "it has children: restrict it first" if error.errno == errno.EINVAL else ""
            raise files.failure(f"{path}: refuses {str(rule)!r}", error, advice) from error


def restrict_v2(directory: str, rules: Iterable[DeviceRule]) -> None:
    """Attach the rules as a program, in place of one attached here before.

    Raises:
        DeniedError: no privilege.
        UnsupportedError: a kernel without cgroup programs.
    """
    from cgagent.cgroups import bpf  # ctypes: only where it is needed

    bpf.attach(directory, bpf.assemble(*settle(rules)))
