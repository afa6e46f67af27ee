"""What is kept of a group of containers, and how one may be called."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from cgagent.cgroups import Limits
from cgagent.engine.options import limits as limit_json
from cgagent.engine.options.overrides import LimitOverride, in_force
from cgagent.errors import InvalidInputError, UnsupportedError

VERSION: Final = 2
"""The version of the form that a group's document has."""
_PART: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}")
_AN_ID: Final = re.compile(r"[0-9a-f]{64}")
_TAKEN: Final = frozenset(
    {
        *("tasks", "notify_on_release", "release_agent"),  # files of cgroup v1
        *("freeze", "thaw", "kill", "stats", "update", "why"),  # words of the API behind a name
    }
)
_DEPTH_MOST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as its user asks for it, and its state; replaced as a whole."""

    name: str
    """``team-a``, or ``team-a/backend`` in another."""
    created_ns: int
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    max_containers: int | None = None
    """How many containers there may be in it and in those below it; None: any number."""
    labels: dict[str, str] = field(default_factory=dict)
    limits_changed_ns: int | None = None
    overrides: tuple[LimitOverride, ...] = ()
    """What policies hold it to instead of that, the latest last."""
    budget: str = ""
    """What may be used in a time, as `policy.budgets` has it."""
    reclaim: str = ""
    """How memory is taken back that it does not need, as `policy.reclaim` has it."""
    frozen_since_ns: int | None = None
    """When it was frozen as a whole; what is frozen inside by itself is not noted here."""
    thaw_at_ns: int | None = None
    """When such a freeze ends by itself; None: never."""
    stopped_until_ns: int | None = None
    """While its budget keeps all that is in it from running: until when."""
    stopped: tuple[str, ...] = ()
    """Ids of the containers that were stopped for that, and are to be started again."""
    undo: tuple[tuple[str, str], ...] = ()
    """While an update is made: what puts the earlier limits back; see `Group.earlier`."""

    @property
    def parent(self) -> str:
        """The name of the group that it is in; empty: none."""
        return self.name.rpartition("/")[0]

    @property
    def limits_in_force(self) -> Limits:
        """Those that the kernel is to hold."""
        return in_force(self.limits, self.overrides) if self.overrides else self.limits

    def to_document(self) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "limits": limit_json.to_json(self.limits),
                "max_containers": self.max_containers,
                "labels": self.labels,
                "limits_changed_ns": self.limits_changed_ns,
                "overrides": [o.to_json() for o in self.overrides],
                "budget": self.budget,
                "reclaim": self.reclaim,
                "frozen_since_ns": self.frozen_since_ns,
                "thaw_at_ns": self.thaw_at_ns,
                "stopped_until_ns": self.stopped_until_ns,
                "stopped": self.stopped,
                "undo": self.undo,
            }
        )

    @classmethod
    def from_document(cls, name: str, created_ns: int, document: str) -> Group:
        """Of an earlier version's, too. Raises UnsupportedError: a later one has written it."""
        value: dict[str, Any] = json.loads(document)
        version = value.pop("version")
        if version > VERSION:
            raise UnsupportedError(
                f"group {name}: a later version of cgagent has written its record (form "
                f"{version}, this version knows {VERSION}); start that version"
            )
        kept = {
            **value,
            "limits": limit_json.from_json(value["limits"]),
            "overrides": tuple(map(LimitOverride.from_json, value.get("overrides", ()))),
            "stopped": tuple(value.get("stopped", ())),
            "undo": tuple((path, text) for path, text in value["undo"]),
        }
        return cls(name=name, created_ns=created_ns, **kept)


def check_name(name: str) -> str:
    """Raises InvalidInputError: no group may be called so."""
    parts = name.split("/")
    if len(parts) > _DEPTH_MOST:
        raise InvalidInputError(f"group name {name[:80]!r}: at most {_DEPTH_MOST} levels")
    for part in parts:
        if not _PART.fullmatch(part):
            raise InvalidInputError(
                f"group name {name[:200]!r}: each part is up to 63 letters, digits, '-' and '_', "
                "and begins with a letter or digit"
            )
        if part in _TAKEN or _AN_ID.fullmatch(part):
            raise InvalidInputError(f"group name {name!r}: {part!r} is taken; choose another name")
    if parts[0].startswith("build-"):
        raise InvalidInputError(
            f"group name {name!r}: names with 'build-' are those of builds; choose another name"
        )
    return name


def check_max(count: int | None) -> int | None:
    """Raises InvalidInputError: no number of containers."""
    if count is not None and count < 0:
        raise InvalidInputError(f"max containers {count}: it must be 0 or more")
    return count
