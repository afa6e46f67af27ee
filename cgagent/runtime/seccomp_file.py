"""A profile of system calls as Docker's ``--security-opt seccomp=FILE`` has it, for one container.

Docker's form is the runtime specification's with conditions: a rule may be meant for certain
capabilities, architectures or kernels only, and the architectures are a map.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.kernel.seccomp import ACTIONS, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MACHINES: Final = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}
_KEPT: Final = ("names", "action", "errnoRet", "args")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


def resolve(text: str, capabilities: Collection[str]) -> dict[str, Any]:
    """The OCI ``linux.seccomp`` object for a process with these capabilities on this machine.

    Raises:
        InvalidInputError: not JSON, or not a profile.
    """
    found = _document(text)
    for action in (found.get("defaultAction"), *(r.get("action") for r in _rules(found))):
        if action not in ACTIONS:
            raise InvalidInputError(f"seccomp profile: action {action!r} is not known")
    asked = {
        "defaultAction": found["defaultAction"],
        "defaultErrnoRet": found.get("defaultErrnoRet"),
        "architectures": _architectures(found),
        "flags": found.get("flags") or None,
        "syscalls": [_plain(r) for r in _rules(found) if _applies(r, capabilities)],
    }
    return {name: value for name, value in asked.items() if value is not None}


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as e:
        raise InvalidInputError(f"seccomp profile is not JSON: {str(e).lower()}") from None
    if not isinstance(found, dict):
        raise InvalidInputError("seccomp profile is not a JSON object")
    return found


def _rules(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = found.get("syscalls") or []
    if not isinstance(rules, list) or not all(isinstance(r, dict) for r in rules):
        raise InvalidInputError("seccomp profile: syscalls is not a list of objects")
    for rule in rules:
        _check_rule(rule)
    return rules


def _check_rule(rule: Mapping[str, Any]) -> None:
    names = rule.get("names") or [rule.get("name")]
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise InvalidInputError("seccomp profile: a rule has no names of system calls")
    for comparison in rule.get("args") or ():
        numbers = (comparison.get("index"), comparison.get("value"), comparison.get("valueTwo", 0))
        if comparison.get("op") not in OPERATORS or not all(isinstance(n, int) for n in numbers):
            raise InvalidInputError(
                f"seccomp profile: a rule for {names[0]} has a comparison that is not one"
            )


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: rule[name] for name in _KEPT if rule.get(name) is not None}
    return {"names": [rule["name"]], **kept} if "names" not in kept else kept


def _architectures(found: Mapping[str, Any]) -> list[str]:
    """Docker's map gives this machine's architecture and the ones it can also run."""
    if "archMap" not in found:
        return list(found.get("architectures") or ())
    ours = _MACHINES.get(os.uname().machine, ("", ""))[1]
    for entry in found["archMap"] or ():
        if entry.get("architecture") == ours:
            return [ours, *(entry.get("subArchitectures") or ())]
    return []


def _applies(rule: Mapping[str, Any], capabilities: Collection[str]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    return _all_hold(includes, capabilities) and not _any_holds(excludes, capabilities)


def _all_hold(wanted: Mapping[str, Any], capabilities: Collection[str]) -> bool:
    return (
        all(c in capabilities for c in wanted.get("caps") or ())
        and (not wanted.get("arches") or _machine() in wanted["arches"])
        and (not wanted.get("minKernel") or _kernel_is(wanted["minKernel"]))
    )


def _any_holds(refused: Mapping[str, Any], capabilities: Collection[str]) -> bool:
    return (
        any(c in capabilities for c in refused.get("caps") or ())
        or _machine() in (refused.get("arches") or ())
        or bool(refused.get("minKernel") and _kernel_is(refused["minKernel"]))
    )


def _machine() -> str:
    return _MACHINES.get(os.uname().machine, ("", ""))[0]


def _kernel_is(least: str) -> bool:
    """At least this version, as ``MAJOR.MINOR``."""
    wanted, ours = _VERSION.match(least), _VERSION.match(os.uname().release)
    if wanted is None:
        raise InvalidInputError(f"seccomp profile: minKernel {least!r} is not a version")
    return ours is None or tuple(map(int, ours.groups())) >= tuple(map(int, wanted.groups()))
