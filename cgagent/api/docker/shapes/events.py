"""Events under docker's names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import versions

if TYPE_CHECKING:
    from cgagent.api.docker.versions import Version
    from cgagent.engine.events import Event

_DOCKERS: Final = {"exit_code": "exitCode", "old_name": "oldName"}
OURS: Final = frozenset({"policy"})
"""Types that docker's contract does not know: its clients are not told of these."""

_last: dict[tuple[bool, bool], tuple[Event, bytes]] = {}


def line(found: Event, version: Version) -> bytes:
    """Its JSON, made once for all who follow in versions that have it the same."""
    form = versions.tells_restarts(version), versions.has_old_event_fields(version)
    last = _last.get(form)
    if last is None or last[0] is not found:
        last = _last[form] = found, json.dumps(event(found, version)).encode() + b"\n"
    return last[1]


def event(found: Event, version: Version) -> dict[str, Any]:
    attributes = {_DOCKERS.get(name, name): value for name, value in found.attributes.items()}
    if not versions.tells_restarts(version):
        attributes.pop("restarting", None)
    old: dict[str, Any] = {}
    if versions.has_old_event_fields(version) and found.type in {"container", "image"}:
        old = {"status": found.action, "id": found.id}
        if "image" in attributes:
            old["from"] = attributes["image"]
    return {
        **old,
        "Type": found.type,
        "Action": found.action,
        "Actor": {"ID": found.id, "Attributes": attributes},
        "scope": "local",
        "time": found.time_ns // 10**9,
        "timeNano": found.time_ns,
    }
