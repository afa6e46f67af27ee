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
        if not isinstance(action, str) or action not in ACTIONS:
            raise InvalidInputError(f"seccomp profile: action {action!r} is not known")
    asked = {
        "defaultAction": found["defaultAction"],
        "defaultErrnoRet": found.get("defaultErrnoRet"),
        "architectures": _architectures(found),
        "flags": _strings(found, "flags") or None,
        "syscalls": [_plain(r) for r in _rules(found) if _applies(r, capabilities)],
    }
    return {name: value for name, value in asked.items() if value is not None}


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as e:
        raise InvalidInputError(f"seccomp profile is not JSON: {str(e).lower()}") from None
    except RecursionError:
        raise InvalidInputError("seccomp profile is nested too deeply") from None
    if not isinstance(found, dict):
        raise InvalidInputError("seccomp profile is not a JSON object")
    return found


def _rules(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = _objects(found, "syscalls")
    for rule in rules:
        _check_rule(rule)
    return rules


def _check_rule(rule: Mapping[str, Any]) -> None:
    if not (_strings(rule, "names") or isinstance(rule.get("name"), str)):
        raise InvalidInputError("seccomp profile: a rule has no names of system calls")
    for comparison in _objects(rule, "args"):
        numbers = (comparison.get("index"), comparison.get("value"), comparison.get("valueTwo", 0))
        if str(comparison.get("op")) not in OPERATORS or not all(type(n) is int for n in numbers):
            raise InvalidInputError("seccomp profile: args has a comparison that is not one")
    if not isinstance(rule.get("errnoRet") or 0, int):
        raise InvalidInputError("seccomp profile: errnoRet is not a number")
    for name in ("includes", "excludes"):
        conditions = _object(rule, name)
        _strings(conditions, "caps")
        _strings(conditions, "arches")
        if conditions.get("minKernel"):
            _kernel_is(conditions["minKernel"])


def _object(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = of.get(name) or {}
    if not isinstance(found, dict):
        raise InvalidInputError(f"seccomp profile: {name} is not an object")
    return found


def _objects(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = of.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise InvalidInputError(f"seccomp profile: {name} is not a list of objects")
    return found


def _strings(of: Mapping[str, Any], name: str) -> list[str]:
    found = of.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidInputError(f"seccomp profile: {name} is not a list of names")
    return found


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: rule[name] for name in _KEPT if rule.get(name) is not None}
    return {**kept, "names": rule.get("names") or [rule["name"]]}


def _architectures(found: Mapping[str, Any]) -> list[str]:
    """Docker's map gives this machine's architecture and the ones it can also run."""
    if "archMap" not in found:
        return _strings(found, "architectures")
    ours = _MACHINES.get(os.uname().machine, ("", ""))[1]
    for entry in _objects(found, "archMap"):
        if entry.get("architecture") == ours:
            return [ours, *_strings(entry, "subArchitectures")]
    return []


def _applies(rule: Mapping[str, Any], capabilities: Collection[str]) -> bool:
    includes, excludes = _object(rule, "includes"), _object(rule, "excludes")
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


def _kernel_is(least: Any) -> bool:
    """At least this version, as ``MAJOR.MINOR``."""
    wanted, ours = _VERSION.match(str(least)), _VERSION.match(os.uname().release)
    if wanted is None:
        raise InvalidInputError(f"seccomp profile: minKernel {least!r} is not a version")
    return ours is None or tuple(map(int, ours.groups())) >= tuple(map(int, wanted.groups()))
