"""Budgets (``--budget``): what containers and groups use of what they may use in a time.

    sampler ─ tick ─> `accounts` (meters, rows) ─ spent, or a new window ─> `spending` ─> control

What is counted is saved with the counters that it was counted up to, so an agent that was killed
goes on from there: what was used meanwhile is still in the cgroup's own counters. Those of a group
of containers have what containers used that have left it, or ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.lifecycle.resources import Resource
from cgagent.engine.options import networking
from cgagent.engine.options.overrides import BUDGET, of_owner
from cgagent.engine.policies.accounts import Account, Accounts
from cgagent.engine.policies.spending import Spending
from cgagent.errors import CgagentError, NotFoundError
from cgagent.kernel.boot import boot_id
from cgagent.metrics import BudgetUse, cgroup_of_id, id_of_cgroup

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.group import Group
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.observe.policies import Tick
    from cgagent.engine.policies.decisions import Decisions
    from cgagent.engine.policies.subjects import Subject, Subjects
    from cgagent.metrics import Sample, Target
    from cgagent.policy.budgets import Meter
    from cgagent.store.states import StateRows

log = logging.getLogger(__name__)

_RETRY_S: Final = 10.0


class Budgeting(Resource):
    """A policy, in whose event loop it lives, and a resource: the first run opens the account."""

    def __init__(
        self,
        *,
        containers: Containers,
        groups: Groups,
        subjects: Subjects,
        decided: Decisions,
        rows: StateRows,
    ) -> None:
        self._containers = containers
        self._groups = groups
        self._subjects = subjects
        self._accounts = Accounts(rows)
        self._spending = Spending(self._accounts, decided)
        self._work: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._boot = boot_id()

    def resume(self) -> None:
        """At the agent's start, when containers are known."""
        self._loop = asyncio.get_running_loop()
        groups = (_group_key(group.name) for group in self._groups.all())
        self._accounts.load((*map(_key, self._containers), *groups))

    # -- what is used -----------------------------------------------------------------------

    def started(self, container: Container) -> None:
        if container.record.config.budget:
            began_ns = container.record.outcome.started_ns or time.time_ns()
            account = self._accounts.open(_key(container))
            account.ask(container.record.config.budget, began_ns, counts_from_now=False)

    def wished(self, container: Container, asked: Collection[str]) -> None:
        """Its user has asked for other budgets; what it has used before is not theirs."""
        text = container.record.config.budget
        account = self._accounts.get(_key(container))
        if "budget" in asked and container.running and (text or account is not None):
            account = account or self._accounts.open(_key(container))
            account.ask(text, time.time_ns(), counts_from_now=True)

    def asked_of_group(self, group: Group) -> None:
        """It is made, or updated."""
        key = _group_key(group.name)
        account = self._accounts.get(key)
        if group.budget or account is not None:
            account = account or self._accounts.open(key)
            account.ask(group.budget, time.time_ns(), counts_from_now=True)

    def group_dropped(self, group: Group) -> None:
        self._accounts.close(_group_key(group.name))

    def sampled(self, sample: Sample) -> None:
        """A last one before a group goes; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._add, sample)

    def _add(self, sample: Sample) -> None:
        account, now_ns = self._of(sample.target.id), time.time_ns()
        if account is not None:
            self._note_cgroup(account, sample.target, now_ns)
            account.add(sample, now_ns)
        container = self._containers.get(sample.target.id)
        if container is not None and _has_traffic(container):  # one that has just ended, too
            for group in self._groups.above(container.record.cgroup_path):
                account = self._accounts.get(_group_key(group.name))
                if account is not None:
                    account.add_traffic([sample], now_ns, are_all=False)

    def forgotten(self, container_id: str) -> None:
        self._accounts.close(f"container:{container_id}")

    # -- each round -------------------------------------------------------------------------

    def happened(self, container: Container, event: Event) -> None:
        """Only what is used counts."""

    def ticked(self, tick: Tick) -> None:
        now_ns = time.time_ns()
        for container in self._containers:
            text, key = container.record.config.budget, _key(container)
            account = self._accounts.get(key)
            if account is None and text and container.running:
                account = self._accounts.open(key)  # an agent has died just before it did
                account.ask(text, now_ns, counts_from_now=False)
            if account is not None:
                subject = self._subjects.container(container)
                self._look(subject, account, tick.latest(container.id), now_ns)
            elif container.record.overrides and of_owner(container.record.overrides, BUDGET):
                self._go(self._lift(self._subjects.container(container)))
        for group in self._groups.all():
            self._look_at_group(group, tick, now_ns)
        self._save()

    def _look_at_group(self, group: Group, tick: Tick, now_ns: int) -> None:
        self.asked_of_group(group)  # an agent may have died just before it did
        account = self._accounts.get(_group_key(group.name))
        if account is not None:
            sample = tick.latest(id_of_cgroup(self._groups.path(group.name)))
            if sample is not None:
                self._note_cgroup(account, sample.target, now_ns)
            if "net" in account.meters:
                account.roll(now_ns)
                inside = (c for c in self._groups.members(group.name) if c.running)
                found = (tick.latest(c.id) for c in inside if _has_traffic(c))
                account.add_traffic(filter(None, found), now_ns, are_all=True)
            self._look(self._subjects.group(group.name), account, sample, now_ns)
        elif of_owner(group.overrides, BUDGET) or group.stopped_until_ns:
            self._go(self._lift(self._subjects.group(group.name)))

    def _note_cgroup(self, account: Account, target: Target, now_ns: int) -> None:
        if not target.is_above:
            return
        inodes = self._subjects.host.group(target.cgroup_path).inodes()
        account.is_of({f"{self._boot} {name}": n for name, n in inodes.items()}, now_ns)

    def _look(self, subject: Subject, account: Account, sample: Sample | None, now_ns: int) -> None:
        account.ask(subject.budget, now_ns, counts_from_now=subject.running)
        account.roll(now_ns)
        if sample is not None:
            account.add(sample, now_ns)
        if account.is_busy:
            return
        for meter in account.meters.values():
            self._spending.look(subject, meter)
        due = [m for m in account.meters.values() if self._spending.is_due(subject, account, m)]
        if due and time.monotonic() >= account.retry_s:
            account.is_busy = True
            self._go(self._settle(subject, account, due))
        elif not account.meters and not account.text:
            self._accounts.close(account.key)

    async def _settle(self, subject: Subject, account: Account, due: list[Meter]) -> None:
        try:
            for meter in due:
                if subject.is_gone:
                    return
                if self._spending.is_due(subject, account, meter):  # not frozen by another now
                    await self._settle_one(subject, account, meter)
        finally:
            account.is_busy = False
            if not subject.is_gone:
                self._save(account)

    async def _settle_one(self, subject: Subject, account: Account, meter: Meter) -> None:
        resource = meter.budget.resource
        try:
            await self._spending.settle(subject, account, meter)
            account.failed.discard(resource)
        except CgagentError as e:
            account.retry_s = time.monotonic() + _RETRY_S
            if resource not in account.failed and not subject.is_gone:
                account.failed.add(resource)
                self._spending.failed(subject, meter, e.message)

    async def _lift(self, subject: Subject) -> None:
        """What no account answers for: its row was lost."""
        try:
            if of_owner(subject.overrides, BUDGET):
                await subject.lift(BUDGET, "no budget answers for it")
            else:
                await subject.start_again()
        except NotFoundError:
            return
        except CgagentError as e:
            log.warning("%s: %s", subject.target, e.message)

    def user_starts(self, container: Container) -> None:
        account = self._accounts.get(_key(container))
        for meter in account.meters.values() if account else ():
            self._spending.user_starts(self._subjects.container(container), meter)
        if account:
            account.is_unsaved = True

    def lets_start(self, container: Container) -> bool:
        """Whether no budget of its own keeps it stopped."""
        account = self._accounts.get(_key(container))
        return account is None or not account.keeps_stopped()

    def _go(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _save(self, *accounts: Account) -> None:
        try:
            self._accounts.save(*accounts)
        except CgagentError as e:  # a full disk: tried again in the next round
            log.warning("what is used of budgets is not kept: %s", e.message)

    async def close(self) -> None:
        """The engine stops; what is in force stays so, and the next agent goes on."""
        self._loop = None
        for task in list(self._work):
            task.cancel()
        if self._work:
            await asyncio.wait(self._work)
        self._save()

    # -- looking in -------------------------------------------------------------------------

    def _of(self, target_id: str) -> Account | None:
        """By the target's id in the sampler; from any thread."""
        path = cgroup_of_id(target_id)
        if path is not None:
            group = self._groups.at(path)
            return None if group is None else self._accounts.get(_group_key(group.name))
        return self._accounts.get(f"container:{target_id}")

    def uses(self, target_id: str) -> tuple[BudgetUse, ...]:
        """For metrics and rulesets; from any thread."""
        account = self._of(target_id)
        meters = list(account.meters.values()) if account else ()
        return tuple(
            BudgetUse(m.budget.resource, m.ratio, m.ends_ns / 1e9, m.phase == "done")
            for m in meters
            if account is not None and account.asks_for(m)
        )

    def percents(self, target_id: str) -> dict[str, float]:
        """How much of each budget is used, by resource."""
        return {use.resource: use.used_ratio * 100 for use in self.uses(target_id)}

    def view_of_group(self, name: str) -> list[dict[str, Any]]:
        """The same as `view`, of a group of containers by its name."""
        return self.view(id_of_cgroup(self._groups.path(name)))

    def view(self, target_id: str) -> list[dict[str, Any]]:
        """For people."""
        account = self._of(target_id)
        return (
            [
                {
                    "resource": meter.budget.resource,
                    "budget": str(meter.budget),
                    "unit": "ns" if meter.budget.resource == "cpu" else "bytes",
                    "used": meter.used,
                    "amount": meter.budget.amount,
                    "used_ratio": round(meter.ratio, 4),
                    "begins_ns": meter.begins_ns,
                    "ends_ns": meter.ends_ns,
                    "action": meter.budget.action,
                    "spent": meter.is_spent,
                    "state": meter.phase or "within",
                }
                for meter in list(account.meters.values())
                if account.asks_for(meter)
            ]
            if account
            else []
        )


def _key(container: Container) -> str:
    return f"container:{container.id}"


def _has_traffic(container: Container) -> bool:
    """On interfaces of its own."""
    return not networking.mode(container.record.config)


def _group_key(name: str) -> str:
    return f"group:{name}"
