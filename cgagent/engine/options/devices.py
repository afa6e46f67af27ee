"""Devices of the host in a container: ``--device``, ``--device-cgroup-rule``, ``--privileged``.

A device is a node in the container and a rule of its cgroup; one without the other is no use.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.runtime.spec import DeviceNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RULE: Final = re.compile(r"([acb]) (\*|\d{1,9}):(\*|\d{1,9}) ([rwm]{1,3})")
_NOT_THE_HOSTS: Final = frozenset({"pts", "shm", "fd", "mqueue", "console", "ptmx"})
"""What a container's /dev has of its own, whatever the host has there."""
_KINDS: Final = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A node of the host, or a directory of them, and where the container shall have it."""

    path_on_host: str
    path_in_container: str
    access: str = "rwm"


def nodes(asked: Iterable[Device], *, privileged: bool) -> tuple[DeviceNode, ...]:
    """The nodes to be made. Raises InvalidInputError."""
    found = {n.path: n for n in _of_the_host()} if privileged else {}
    found.update((node.path, node) for device in asked for node in _nodes(device))
    return tuple(found.values())


def rules(
    asked: Iterable[Device], rules_asked: Iterable[str], *, privileged: bool
) -> tuple[dict[str, Any], ...]:
    """``linux.resources.devices``; empty if it is what every container has.

    Raises:
        InvalidInputError: an access or a rule that is none, a path that is no device.
    """
    if privileged:
        for device in asked:  # its nodes are made all the same
            _nodes(device)
        extra: list[dict[str, Any]] = []
    else:
        extra = [_rule_of(node, device.access) for device in asked for node in _nodes(device)]
    extra += [_parse_rule(text) for text in rules_asked]
    if not extra and not privileged:
        return ()
    return ({"allow": privileged, "access": "rwm"}, *extra)


def _rule_of(node: DeviceNode, access: str) -> dict[str, Any]:
    return {
        "allow": True,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "access": access,
    }


def _parse_rule(text: str) -> dict[str, Any]:
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidInputError(
            f"invalid device cgroup rule format: {text!r}; write KIND MAJOR:MINOR ACCESS, such as "
            "'c 42:* rmw'"
        )
    numbers = {
        name: int(number)
        for name, number in (("major", match[2]), ("minor", match[3]))
        if number != "*"
    }
    return {"allow": True, "type": match[1], **numbers, "access": match[4]}


def _nodes(device: Device) -> list[DeviceNode]:
    """Of one ``--device``: a directory stands for all devices below it."""
    _check(device)
    source = os.path.realpath(device.path_on_host)
    status = _stat(source, device.path_on_host)
    if not stat.S_ISDIR(status.st_mode):
        return [_node(device.path_in_container, status, device.path_on_host)]
    top = device.path_in_container.rstrip("/")
    found = [
        _node(top + path.removeprefix(source), status, path)
        for path, status in _devices_below(source)
    ]
    if not found:
        raise InvalidInputError(f"device {device.path_on_host}: no device is in that directory")
    return found


def _check(device: Device) -> None:
    for path in (device.path_on_host, device.path_in_container):
        if not path.startswith("/") or "\0" in path:
            raise InvalidInputError(f"device path {path!r} must be an absolute path")
    if _normal(device.path_in_container) in {"/", "/dev"}:
        raise InvalidInputError(
            f"device path {device.path_in_container!r} is a directory of the container's own"
        )
    access = device.access
    if not access or set(access) - set("rwm") or len(set(access)) != len(access):
        raise InvalidInputError(f"invalid device mode: {access!r}; some of rwm, each once")


def _normal(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")  # it keeps two slashes at the beginning


def _stat(path: str, named: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as e:
        reason = os.strerror(e.errno or 0).lower()
        raise InvalidInputError(
            f"error gathering device information while adding custom device {named!r}: {reason}"
        ) from None


def _node(path: str, status: os.stat_result, named: str) -> DeviceNode:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise InvalidInputError(f"device {named}: not a device node")
    return DeviceNode(
        path=_normal(path),
        kind=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _of_the_host() -> Iterator[DeviceNode]:
    for path, status in _devices_below("/dev", _NOT_THE_HOSTS):
        yield _node(path, status, path)


def _devices_below(
    top: str, left_out: frozenset[str] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Those that are there themselves: links to them are left out, as docker does."""
    for path in _below(top, left_out):
        try:
            status = os.lstat(path)
        except FileNotFoundError:  # unplugged meanwhile
            continue
        if stat.S_IFMT(status.st_mode) in _KINDS:
            yield path, status


def _below(top: str, left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    for directory, folders, files in os.walk(top):
        if directory == top:
            folders[:] = [f for f in folders if f not in left_out]
            files = [f for f in files if f not in left_out]  # noqa: PLW2901
        yield from (os.path.join(directory, name) for name in sorted(files))
