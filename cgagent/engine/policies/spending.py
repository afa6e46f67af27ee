"""What is done about budgets that are spent, and undone when the window is over.

What is to be in force follows from the meter alone, so whatever dies, the next look brings it
about or undoes it. A user's own update, thaw or start ends it for the rest of the window.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits
from cgagent.engine.options.overrides import BUDGET, LimitOverride, of_owner
from cgagent.engine.policies import decisions, limiting
from cgagent.errors import ConflictError, NotFoundError
from cgagent.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Usage
    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.policies.accounts import Account, Accounts
    from cgagent.engine.policies.decisions import Decisions
    from cgagent.policy.budgets import Meter

_NAMES: Final = {
    "cpu": frozenset({"cpu_quota_us", "cpu_period_us"}),
    "io": frozenset({"io_max"}),
    "net": frozenset({"net_rate_in_bits", "net_rate_out_bits"}),
}
_CUT_SHORT: Final = ("stop", "acting")
"""It may have ended by now."""
_FREEZE_S: Final = 10.0
_SAME_NS: Final = 2 * 10**9
"""The end of a freeze that was begun just before a crash is the window's, but for this."""


class Spending:
    def __init__(
        self,
        accounts: Accounts,
        control: Control,
        lifecycle: Lifecycle,
        used: Callable[[Container], Usage | None],
        decided: Decisions,
    ) -> None:
        self._accounts = accounts
        self._control = control
        self._lifecycle = lifecycle
        self._used = used
        self._decided = decided

    def look(self, container: Container, meter: Meter) -> None:
        """Whether its user has ended what was done, or it was done to a run that is over."""
        if meter.phase != "done" or not meter.is_wanted:
            return
        if meter.acted == "throttle" and not {*meter.held} <= _held(container, meter):
            self._give_up(container, meter, "its user has changed that limit")
        elif meter.acted == "freeze" and container.running and not container.frozen:
            if meter.acted_run_ns == container.record.outcome.started_ns:
                self._give_up(container, meter, "its user has thawed it")
            else:
                meter.phase = ""
        elif meter.acted == "stop" and container.up:
            meter.phase = ""

    def user_starts(self, container: Container, meter: Meter) -> None:
        """One that was stopped is left alone, then."""
        if meter.phase == "done" and meter.acted == "stop" and meter.is_wanted:
            self._give_up(container, meter, "its user has started it")

    def _give_up(self, container: Container, meter: Meter, why: str) -> None:
        meter.phase = "given up"
        until = f"{why}, so nothing is done until {_moment(meter.ends_ns)}"
        self._tell(container, meter, decisions.GIVEN_UP, until)

    def is_due(self, container: Container, account: Account, meter: Meter) -> bool:
        """Whether there is something to be done now."""
        if not account.asks_for(meter) or not meter.is_wanted:
            return meter.is_acted_on or not account.asks_for(meter)
        if meter.phase not in {"", "acting"}:
            return False
        if meter.budget.action == "event" or (meter.budget.action, meter.phase) == _CUT_SHORT:
            return True
        is_anothers = container.frozen and meter.phase == ""
        return container.running and not (meter.budget.action == "freeze" and is_anothers)

    async def settle(self, container: Container, account: Account, meter: Meter) -> None:
        """Bring about what is to be in force of one that `is_due`.

        Raises:
            CgagentError: it cannot be now; it is tried again.
        """
        if account.asks_for(meter) and meter.is_wanted:
            await self._take(container, account, meter)
        else:
            if meter.is_acted_on:
                await self._undo(container, meter)
            if not account.asks_for(meter):
                account.drop(meter)
        account.is_unsaved = True

    async def _take(self, container: Container, account: Account, meter: Meter) -> None:
        action = meter.budget.action
        if action != "event":
            meter.phase, meter.acted = "acting", action
            meter.acted_run_ns = container.record.outcome.started_ns
            account.is_unsaved = True
            self._accounts.save(account)
        came_to = ""
        if action == "throttle":
            came_to = await self._throttle(container, meter)
        elif action == "freeze":
            await self._freeze(container, meter)
        elif action == "stop":
            await self._lifecycle.stop(container)
        meter.phase, meter.acted = "done", action
        self._tell(container, meter, decisions.DONE, f"{shown(meter)}{came_to}")

    async def _throttle(self, container: Container, meter: Meter) -> str:
        there = of_owner(container.record.overrides, BUDGET)
        if not _held(container, meter):
            own = container.record.limits  # others' overrides may end before the window does
            try:
                cap = limiting.budget_cap(meter.budget, own, self._used(container))
            except ConflictError as e:
                return f"; {e.message}"
            override = LimitOverride(
                owner=BUDGET,
                reason=f"{there.reason}; {shown(meter)}"[:1000] if there else shown(meter),
                since_ns=time.time_ns(),
                limits=there.limits.merged(cap) if there else cap,
            )
            await self._control.override(container, override)
        meter.held = tuple(sorted(_held(container, meter)))
        found = of_owner(container.record.overrides, BUDGET)
        return f": {limiting.shown(found.limits)}" if found else ""

    async def _freeze(self, container: Container, meter: Meter) -> None:
        ends_ns = container.record.outcome.thaw_at_ns or 0
        if not (container.frozen and abs(ends_ns - meter.ends_ns) < _SAME_NS):
            left_s = max((meter.ends_ns - time.time_ns()) / 1e9, 0.1)
            await self._control.freeze(container, _FREEZE_S, left_s)
        meter.lease_ns = container.record.outcome.thaw_at_ns

    async def _undo(self, container: Container, meter: Meter) -> None:
        outcome = container.record.outcome
        what = "nothing was left to undo"
        if meter.acted == "throttle" and _held(container, meter):
            await self._let_go(container, meter)
            what = "its own limit is back"
        elif meter.acted == "freeze":
            lease_ns = meter.lease_ns or 0
            if container.frozen and abs((outcome.thaw_at_ns or 0) - lease_ns) < _SAME_NS:
                await self._thaw(container)
            what = "it is thawed"
        elif meter.acted == "stop" and outcome.status == "exited":
            await self._lifecycle.start(container)
            what = "it is started again"
        self._tell(container, meter, decisions.UNDONE, what)
        meter.is_undone()

    async def _thaw(self, container: Container) -> None:
        try:
            await self._control.thaw(container, by="budget")
        except ConflictError:
            if container.frozen:
                raise  # else the freeze has ended by itself at this very moment

    async def _let_go(self, container: Container, meter: Meter) -> None:
        """Of the override leave what other budgets have put there."""
        there = of_owner(container.record.overrides, BUDGET)
        if there is None:
            return
        names = _NAMES[meter.budget.resource]
        left = Limits(**{name: value for name, value in there.limits if name not in names})
        if dict(left):
            await self._control.override(container, replace(there, limits=left))
            return
        try:
            await self._control.lift(container, BUDGET, "the window of the budget is over")
        except NotFoundError:
            return  # its user has just taken it

    def _tell(self, container: Container, meter: Meter, outcome: str, reason: str) -> None:
        resource = meter.budget.resource
        action = meter.acted if meter.phase else meter.budget.action  # which may be another by now
        self._decided.note_own(
            BUDGET, action, container, outcome=outcome, reason=f"{resource}: {reason}"
        )

    def failed(self, container: Container, meter: Meter, why: str) -> None:
        self._tell(container, meter, decisions.FAILED, f"{shown(meter)}; {why}")


def _held(container: Container, meter: Meter) -> set[str]:
    """What a budget of this resource holds the container to now: names of limits."""
    there = of_owner(container.record.overrides, BUDGET)
    names = {name for name, _ in there.limits} if there else set()
    return names & _NAMES[meter.budget.resource]


def shown(meter: Meter) -> str:
    """How much of it is used, for people."""
    amounts = [_amount(meter, value) for value in (meter.used, meter.budget.amount)]
    times = [_moment(at_ns) for at_ns in (meter.begins_ns, meter.ends_ns)]
    return "{} of {} {} are used, from {} to {}".format(*amounts, meter.budget.resource, *times)


def _amount(meter: Meter, value: int) -> str:
    return f"{value / 1e9:.4g} s" if meter.budget.resource == "cpu" else show_size(value)


def _moment(at_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ns / 1e9))
