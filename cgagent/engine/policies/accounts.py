"""What has been used of budgets, and what is done about it: kept over restarts of the agent."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError
from cgagent.policy.budgets import Budget, Meter, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.metrics import Sample
    from cgagent.policy.budgets import Resource
    from cgagent.store.states import StateRows

log = logging.getLogger(__name__)

_NEW_NS: Final = 10 * 10**9
"""A container that began to run so shortly before the last count may just not have been sampled."""


@dataclass(slots=True)
class Account:
    """Of one target."""

    key: str
    """Of the target, as in `container:ID`, `group:NAME`."""
    text: str = ""
    """The budgets as they are asked for; empty: none any more."""
    asked: tuple[Budget, ...] = ()
    meters: dict[Resource, Meter] = field(default_factory=dict)
    seen_ns: int = 0
    """Of the monotonic clock: the last sample that was counted."""
    cgroup: dict[str, int] = field(default_factory=dict)
    """Of a group: the inodes of its cgroup's directories, each with the boot that they are of. The
    counters of another cgroup begin with 0."""
    run_s: float = 0.0
    """Of a group: when that cgroup was first seen."""
    is_unsaved: bool = True
    is_busy: bool = False
    retry_s: float = 0.0
    failed: set[Resource] = field(default_factory=set)
    """Those of which a failure was told."""

    def ask(self, text: str, now_ns: int, *, counts_from_now: bool) -> None:
        """Have the budgets of a text. What was done about others is undone by `Spending`.

        `counts_from_now`: of a new one what the counters say now is no use.
        """
        if text == self.text:
            return
        self.text, self.asked, self.is_unsaved = text, parse(text), True
        asked = {budget.resource: budget for budget in self.asked}
        for resource, meter in list(self.meters.items()):
            if resource in asked:
                self.meters[resource] = meter.changed(asked[resource], now_ns)
            elif meter.is_acted_on:  # and goes when that is undone
                meter.used = 0
            else:
                del self.meters[resource]
        for resource, budget in asked.items():
            if resource not in self.meters:
                counted: dict[str, int] | None = None if counts_from_now else {}
                self.meters[resource] = Meter(budget=budget, begins_ns=now_ns, counted=counted)

    def asks_for(self, meter: Meter) -> bool:
        """Or it is there to be undone."""
        return meter.budget in self.asked

    def keeps_stopped(self, but: Meter | None = None) -> bool:
        """Whether a budget, other than that one, is to have it stopped now."""
        others = (m for m in self.meters.values() if m is not but and m.acted == "stop")
        return any(m.is_acted_on and m.is_wanted for m in others)

    def drop(self, meter: Meter) -> None:
        if self.meters.get(meter.budget.resource) is meter:  # or one that was just asked for
            del self.meters[meter.budget.resource]
        self.is_unsaved = True

    def is_of(self, cgroup: dict[str, int], now_ns: int) -> None:
        """Of a group: which cgroup there is now. What was sampled before is another's.

        One of which a part was made again is the same: what was counted of it does not fall.
        """
        if not cgroup or cgroup == self.cgroup:
            return
        if not cgroup.items() & self.cgroup.items():
            if self.cgroup:
                self.seen_ns = time.monotonic_ns()
            self.run_s = now_ns / 1e9
        self.cgroup, self.is_unsaved = cgroup, True

    def add(self, sample: Sample, now_ns: int) -> None:
        """Count what a sample says more than the one before."""
        run_s = self.run_s or sample.target.started_at_s
        if sample.monotonic_ns <= self.seen_ns:
            return
        self.seen_ns = sample.monotonic_ns
        for resource, meter in self.meters.items():
            counters = _counters(resource, sample)
            if counters is not None and self.asks_for(meter):
                is_more = meter.add(counters, run_s, now_ns)
                self.is_unsaved = self.is_unsaved or is_more

    def add_traffic(self, samples: Iterable[Sample], now_ns: int, *, are_all: bool) -> None:
        """Of a group: count what containers in it send and receive on interfaces of their own.

        With `are_all` those that are not among them are forgotten. What one has sent before it was
        taken into the group is no use of this budget.
        """
        meter = self.meters.get("net")
        if meter is None or not self.asks_for(meter) or not (are_all or meter.counted is not None):
            return
        counters, before = {}, {}
        for sample in samples:
            started_s = sample.target.started_at_s
            was_elsewhere = started_s * 1e9 < meter.counted_ns - _NEW_NS
            for one in sample.network or ():
                key = f"{sample.target.id}@{started_s}:{one.name}"
                counters[key] = one.receive_bytes + one.transmit_bytes
                if was_elsewhere:
                    before[key] = counters[key]
        if meter.counted is not None:
            meter.counted = before | meter.counted
            counters = counters if are_all else meter.counted | counters
        is_more = meter.add(counters, 0.0, now_ns)
        self.is_unsaved = self.is_unsaved or is_more

    def roll(self, now_ns: int) -> None:
        for meter in self.meters.values():
            if meter.rolled(now_ns):
                self.is_unsaved = True
                self.failed.discard(meter.budget.resource)

    def document(self) -> str:
        meters = {str(m.budget): m.to_json() for m in self.meters.values()}
        cgroup = {"cgroup": self.cgroup, "run_s": self.run_s} if self.cgroup else {}
        return json.dumps({"text": self.text, "meters": meters, **cgroup}, separators=(",", ":"))

    @classmethod
    def of(cls, key: str, document: str) -> Account:
        """Raises KeyError, TypeError, ValueError, CgagentError: it is damaged."""
        value: dict[str, Any] = json.loads(document)
        text = value["text"]
        made = cls(key, text, parse(text), is_unsaved=False)
        made.cgroup, made.run_s = value.get("cgroup", {}), value.get("run_s", 0.0)
        for text, meter in value["meters"].items():
            (budget,) = parse(text)
            made.meters[budget.resource] = Meter.from_json(budget, meter)
        return made


class Accounts:
    """All of them, by the keys of their targets."""

    def __init__(self, rows: StateRows) -> None:
        self._rows = rows
        self._all: dict[str, Account] = {}

    def load(self, known: Iterable[str]) -> None:
        """Of the targets that there are; others are forgotten."""
        documents, known = self._rows.all(), set(known)
        self._rows.delete(documents.keys() - known)
        for key in documents.keys() & known:
            try:
                self._all[key] = Account.of(key, documents[key])
            except (KeyError, TypeError, ValueError, CgagentError) as e:
                log.warning("the budget of %s is not read, and begun anew: %r", key, e)

    def get(self, key: str) -> Account | None:
        return self._all.get(key)

    def open(self, key: str) -> Account:
        return self._all.setdefault(key, Account(key))

    def close(self, key: str) -> None:
        if self._all.pop(key, None) is not None:
            self._rows.delete([key])

    def save(self, *accounts: Account) -> None:
        """Those of them, or of all, that have changed; one that was closed is left alone.

        Raises:
            CgagentError: the disk is full.
        """
        chosen = accounts or tuple(self._all.values())
        unsaved = [a for a in chosen if a.is_unsaved and self._all.get(a.key) is a]
        if unsaved:
            self._rows.put({account.key: account.document() for account in unsaved})
        for account in unsaved:
            account.is_unsaved = False


def _counters(resource: Resource, sample: Sample) -> dict[str, int] | None:
    """None: this sample does not say."""
    usage = sample.usage
    if resource == "cpu":
        return None if usage.cpu.usage_ns is None else {"": usage.cpu.usage_ns}
    if resource == "io":
        return None if usage.io is None else {d.device: d.rbytes + d.wbytes for d in usage.io}
    if sample.network is None:
        return None
    return {one.name: one.receive_bytes + one.transmit_bytes for one in sample.network}
