"""What rulesets hold targets to: in the database before it begins, until after it has ended."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cgagent.cgroups import Limits
from cgagent.engine.options import limits as limit_json
from cgagent.errors import CgagentError
from cgagent.policy.rulesets.course import Step
from cgagent.store.policies import HoldRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgagent.store.policies import PolicyRows

_NOTHING = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One grade that is in force on one target."""

    policy: str
    watched: str
    step: Step
    action: str
    since_ns: int = field(default_factory=time.time_ns)
    limits: Limits = _NOTHING
    """Of an override of a container or a group, or of a cgroup."""
    reason: str = ""
    """Of such an override."""
    until_ns: int | None = None
    """When a freeze ends; of a container or a group it is the lease in its record, by which it is
    known to be ours. None: it was not noted before the agent died, and ends by itself."""
    undo: tuple[tuple[str, str], ...] = ()
    """Of a cgroup: what puts its files back."""
    left: tuple[tuple[str, str], ...] = ()
    """Of a cgroup: what would put its files back to what they were left with. Where one says
    something else now, another has changed it. Empty: it was not noted before the agent died."""
    inodes: dict[str, int] = field(default_factory=dict)
    """Of a cgroup's directories: another group of the same name is not ours."""

    def row(self) -> HoldRow:
        document = {
            "limits": limit_json.to_json(self.limits),
            "reason": self.reason,
            "until_ns": self.until_ns,
            "undo": self.undo,
            "left": self.left,
            "inodes": self.inodes,
        }
        return HoldRow(
            policy=self.policy,
            watched=self.watched,
            grade=self.step.grade,
            victim=self.step.victim,
            action=self.action,
            since_ns=self.since_ns,
            document=json.dumps(document),
        )

    @classmethod
    def of(cls, row: HoldRow) -> Hold:
        value: dict[str, Any] = json.loads(row.document)
        return cls(
            policy=row.policy,
            watched=row.watched,
            step=Step(row.grade, row.victim),
            action=row.action,
            since_ns=row.since_ns,
            limits=limit_json.from_json(value["limits"]),
            reason=value.get("reason", ""),
            until_ns=value["until_ns"],
            undo=tuple((path, text) for path, text in value["undo"]),
            left=tuple((path, text) for path, text in value.get("left", ())),
            inodes=value["inodes"],
        )


class Holds:
    """All of them, the oldest first."""

    def __init__(self, rows: PolicyRows) -> None:
        self._rows = rows
        self._all = [Hold.of(row) for row in rows.holds()]

    def __iter__(self) -> Iterator[Hold]:
        return iter(tuple(self._all))

    def of(self, policy: str, watched: str | None = None) -> list[Hold]:
        return [h for h in self._all if h.policy == policy and watched in {None, h.watched}]

    def find(self, policy: str, watched: str, step: Step) -> Hold | None:
        return next((h for h in self.of(policy, watched) if h.step == step), None)

    def on(self, policy: str, victim: str) -> list[Hold]:
        """What of a ruleset is in force on a target, for whomever it is."""
        return [h for h in self._all if h.policy == policy and h.step.victim == victim]

    def put(self, hold: Hold) -> Hold:
        """Keep it, in the place of an earlier one of the same grade."""
        self._rows.hold(hold.row())
        same = self.find(hold.policy, hold.watched, hold.step)
        self._all = [*(h for h in self._all if h is not same), hold]
        return hold

    def bequeath(self, hold: Hold, now: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        """What is to be written to undo a hold of a group whose files say `now`.

        What a later hold has changed since is put back when that one ends, so it gets our text.
        What neither of us has changed was another's will, and stays.
        """
        left, there = _by_place(hold.left), _by_place(now)
        pairs = []
        for place, pair in _by_place(hold.undo).items():
            ours = left.get(place)
            heir = self._heir(hold, place)
            if heir is None:
                if ours in {None, there.get(place)}:
                    pairs.append(pair)
            elif ours in {None, _by_place(heir.undo)[place]}:
                undo = tuple({**_by_place(heir.undo), place: pair}.values())
                self._rows.hold(replace(heir, undo=undo).row())
                self._all = [replace(h, undo=undo) if h is heir else h for h in self._all]
        return pairs

    def _heir(self, hold: Hold, place: tuple[str, str]) -> Hold | None:
        """The next after this one that has changed the same."""
        same = self.find(hold.policy, hold.watched, hold.step)
        later = self._all[self._all.index(same) + 1 :] if same is not None else []
        return next(
            (h for h in later if h.step.victim == hold.step.victim and place in _by_place(h.undo)),
            None,
        )

    def until(self, hold: Hold, until_ns: int | None) -> Hold:
        return self.put(replace(hold, until_ns=until_ns))

    @contextmanager
    def kept(self, hold: Hold) -> Iterator[None]:
        """Its row is there during the block that brings it about, and after it if that works."""
        before = self.find(hold.policy, hold.watched, hold.step)
        self.put(hold)
        try:
            yield
        except CgagentError:
            self.drop(hold) if before is None else self.put(before)
            raise

    def drop(self, hold: Hold) -> None:
        self._rows.let_go(hold.row())
        same = self.find(hold.policy, hold.watched, hold.step)
        self._all = [h for h in self._all if h is not same]


def _by_place(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """Texts by their files, and by the device in those that have a line for each."""
    found = {}
    for path, text in pairs:
        word = text.partition(" ")[0]
        found[path, word if ":" in word else ""] = path, text
    return found
