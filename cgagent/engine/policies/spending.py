"""What is done about budgets that are spent, and undone when the window is over.

What is to be in force follows from the meter alone, so whatever dies, the next look brings it
about or undoes it. A user's own update, thaw or start ends it for the rest of the window.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits
from cgagent.engine.options.overrides import BUDGET, REASON_MAX, LimitOverride, of_owner
from cgagent.engine.policies import decisions, limiting
from cgagent.errors import ConflictError, NotFoundError
from cgagent.units import show_second, show_size

if TYPE_CHECKING:
    from cgagent.engine.policies.accounts import Account, Accounts
    from cgagent.engine.policies.decisions import Decisions
    from cgagent.engine.policies.subjects import Subject
    from cgagent.policy.budgets import Meter

_NAMES: Final = {
    "cpu": frozenset({"cpu_quota_us", "cpu_period_us"}),
    "io": frozenset({"io_max"}),
    "net": frozenset({"net_rate_in_bits", "net_rate_out_bits"}),
}
_CUT_SHORT: Final = ("stop", "acting")
"""It may have ended by now."""
_SAME_NS: Final = 2 * 10**9
"""The end of a freeze that was begun just before a crash is the window's, but for this."""


class Spending:
    def __init__(
        self,
        accounts: Accounts,
        decided: Decisions,
    ) -> None:
        self._accounts = accounts
        self._decided = decided

    def look(self, subject: Subject, meter: Meter) -> None:
        """Whether its user has ended what was done, or it was done to a run that is over."""
        if meter.phase != "done" or not meter.is_wanted:
            return
        if meter.acted == "throttle" and not {*meter.held} <= _held(subject, meter):
            self._give_up(subject, meter, "its user has changed that limit")
        elif meter.acted == "freeze" and subject.running and not subject.frozen:
            if meter.acted_run_ns == subject.run_ns:
                self._give_up(subject, meter, "its user has thawed it")
            else:
                meter.phase = ""
        elif meter.acted == "stop" and subject.up:
            meter.phase = ""

    def user_starts(self, subject: Subject, meter: Meter) -> None:
        """One that was stopped is left alone, then."""
        if meter.phase == "done" and meter.acted == "stop" and meter.is_wanted:
            self._give_up(subject, meter, "its user has started it")

    def _give_up(self, subject: Subject, meter: Meter, why: str) -> None:
        meter.phase = "given up"
        until = f"{why}, so nothing is done until {show_second(meter.ends_ns)}"
        self._tell(subject, meter, decisions.GIVEN_UP, until)

    def is_due(self, subject: Subject, account: Account, meter: Meter) -> bool:
        """Whether there is something to be done now."""
        if not account.asks_for(meter) or not meter.is_wanted:
            return meter.is_acted_on or not account.asks_for(meter)
        if meter.phase not in {"", "acting"}:
            return False
        if meter.budget.action == "event" or (meter.budget.action, meter.phase) == _CUT_SHORT:
            return True
        is_anothers = subject.frozen and meter.phase == ""
        return subject.running and not (meter.budget.action == "freeze" and is_anothers)

    async def settle(self, subject: Subject, account: Account, meter: Meter) -> None:
        """Bring about what is to be in force of one that `is_due`.

        Raises:
            CgagentError: it cannot be now; it is tried again.
        """
        if account.asks_for(meter) and meter.is_wanted:
            await self._take(subject, account, meter)
        else:
            if meter.is_acted_on:
                await self._undo(subject, account, meter)
            if not account.asks_for(meter):
                account.drop(meter)
        account.is_unsaved = True

    async def _take(self, subject: Subject, account: Account, meter: Meter) -> None:
        action = meter.budget.action
        if action != "event":
            meter.phase, meter.acted = "acting", action
            meter.acted_run_ns = subject.run_ns
            account.is_unsaved = True
            self._accounts.save(account)
        came_to = ""
        if action == "throttle":
            came_to = await self._throttle(subject, meter)
        elif action == "freeze":
            await self._freeze(subject, meter)
        elif action == "stop":
            await subject.stop(meter.ends_ns)
        meter.phase, meter.acted = "done", action
        self._tell(subject, meter, decisions.DONE, f"{shown(meter)}{came_to}")

    async def _throttle(self, subject: Subject, meter: Meter) -> str:
        there = of_owner(subject.overrides, BUDGET)
        if not _held(subject, meter):
            own = subject.limits  # others' overrides may end before the window does
            try:
                cap = limiting.budget_cap(meter.budget, own, subject.usage())
            except ConflictError as e:
                return f"; {e.message}"
            override = LimitOverride(
                owner=BUDGET,
                reason=f"{there.reason}; {shown(meter)}"[:REASON_MAX] if there else shown(meter),
                since_ns=time.time_ns(),
                limits=there.limits.merged(cap) if there else cap,
            )
            await subject.override(override)
        meter.held = tuple(sorted(_held(subject, meter)))
        found = of_owner(subject.overrides, BUDGET)
        return f": {limiting.shown(found.limits)}" if found else ""

    async def _freeze(self, subject: Subject, meter: Meter) -> None:
        ends_ns = subject.thaw_at_ns or 0
        if not (subject.frozen and abs(ends_ns - meter.ends_ns) < _SAME_NS):
            left_s = max((meter.ends_ns - time.time_ns()) / 1e9, 0.1)
            await subject.freeze(left_s)
        meter.lease_ns = subject.thaw_at_ns

    async def _undo(self, subject: Subject, account: Account, meter: Meter) -> None:
        what = "nothing was left to undo"
        if meter.acted == "throttle" and _held(subject, meter):
            await self._let_go(subject, account, meter)
            what = "its own limit is back"
        elif meter.acted == "freeze":
            lease_ns = meter.lease_ns or 0
            if subject.frozen and abs((subject.thaw_at_ns or 0) - lease_ns) < _SAME_NS:
                await self._thaw(subject)
            what = "it is thawed"
        elif meter.acted == "stop":
            what = await self._start_again(subject, account, meter)
        self._tell(subject, meter, decisions.UNDONE, what)
        meter.is_undone()

    async def _start_again(self, subject: Subject, account: Account, meter: Meter) -> str:
        if account.keeps_stopped(but=meter):
            return "another budget keeps it stopped"
        was_up = subject.up
        await subject.start_again()
        return "it runs already" if was_up else "it is started again"

    async def _thaw(self, subject: Subject) -> None:
        try:
            await subject.thaw("budget")
        except ConflictError:
            if subject.frozen:
                raise  # else the freeze has ended by itself at this very moment

    async def _let_go(self, subject: Subject, account: Account, meter: Meter) -> None:
        """Of the override leave what other budgets have put there."""
        there = of_owner(subject.overrides, BUDGET)
        if there is None:
            return
        names = _NAMES[meter.budget.resource]
        left = Limits(**{name: value for name, value in there.limits if name not in names})
        if dict(left):
            others = [m for m in account.meters.values() if m is not meter and m.held]
            reason = "; ".join(map(shown, others))[:REASON_MAX] or there.reason
            await subject.override(replace(there, reason=reason, limits=left))
            return
        try:
            await subject.lift(BUDGET, "the window of the budget is over")
        except NotFoundError:
            return  # its user has just taken it

    def _tell(self, subject: Subject, meter: Meter, outcome: str, reason: str) -> None:
        resource = meter.budget.resource
        action = meter.acted if meter.phase else meter.budget.action  # which may be another by now
        target = subject.target
        self._decided.note(
            *(BUDGET, str(target), action, target),
            outcome=outcome,
            reason=f"{resource}: {reason}",
        )

    def failed(self, subject: Subject, meter: Meter, why: str) -> None:
        self._tell(subject, meter, decisions.FAILED, f"{shown(meter)}; {why}")


def _held(subject: Subject, meter: Meter) -> set[str]:
    """What a budget of this resource holds it to now: names of limits."""
    there = of_owner(subject.overrides, BUDGET)
    names = {name for name, _ in there.limits} if there else set()
    return names & _NAMES[meter.budget.resource]


def shown(meter: Meter) -> str:
    """How much of it is used, for people."""
    amounts = [_amount(meter, value) for value in (meter.used, meter.budget.amount)]
    times = [show_second(at_ns) for at_ns in (meter.begins_ns, meter.ends_ns)]
    return "{} of {} {} are used, from {} to {}".format(*amounts, meter.budget.resource, *times)


def _amount(meter: Meter, value: int) -> str:
    return f"{value / 1e9:.4g} s" if meter.budget.resource == "cpu" else show_size(value)
