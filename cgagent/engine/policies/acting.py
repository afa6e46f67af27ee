"""What grades do, to containers and groups as a user would, and to cgroups of the host; and undone.

Where it holds somebody to something its row comes first, and goes last. So after a crash there may
be a row of something that has not come about, and never something without a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cgagent.cgroups import Limits
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import REASON_MAX, LimitOverride, of_owner
from cgagent.engine.policies import limiting, webhooks
from cgagent.engine.policies.holds import Hold
from cgagent.engine.policies.subjects import FREEZE_S, KILL_S
from cgagent.errors import (
    CgagentError,
    ConflictError,
    DeniedError,
    NotFoundError,
    UnsupportedError,
)
from cgagent.policy.rulesets.model import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Group, Host
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.hostgroups import HostGroups
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.policies.holds import Holds
    from cgagent.engine.policies.running import Wish
    from cgagent.engine.policies.subjects import Subject, Subjects
    from cgagent.policy.facts import Facts
    from cgagent.policy.rulesets.model import Grade, Target

State = Literal["in force", "over", "given up"]
_RECLAIMS_AT_ONCE: Final = 2
"""They may take long, and other work needs the threads, too."""
_NO_MORE: Final = Conveniences()


class Acting:
    def __init__(
        self,
        *,
        host: Host,
        containers: Containers,
        lifecycle: Lifecycle,
        subjects: Subjects,
        groups: HostGroups,
        jobs: Jobs,
        holds: Holds,
        own_pids: Callable[[], set[int]],
    ) -> None:
        """`own_pids` are the agent's own processes: no group that has one is frozen or ended."""
        self._own_pids = own_pids
        self._host = host
        self._containers = containers
        self._lifecycle = lifecycle
        self._subjects = subjects
        self._groups = groups
        self._jobs = jobs
        self._holds = holds
        self._reclaims = asyncio.Semaphore(_RECLAIMS_AT_ONCE)
        self.reclaimed_bytes = 0

    async def take(self, wish: Wish) -> str:
        """Do what the grade says; what it came to, in words.

        Raises:
            CgagentError: it cannot be.
        """
        rules, step = wish.running.rules, wish.order.step
        grade, watched = rules.grades[step.grade], wish.watched.target
        victim = wish.victim or watched
        hold = Hold(policy=rules.name, watched=watched.key, step=step, action=grade.action)
        match grade.action:
            case "event":
                return str(grade.options.get("message", ""))
            case "webhook":
                return await self._tell(wish, grade, victim)
            case "reclaim":
                return await self._reclaim(victim, grade, _known(wish))
            case "restart":
                await self._lifecycle.restart(self._not_stopping(victim))
                return ""
            case "kill":
                return await self._kill(victim)
            case "freeze":
                return await self._freeze(hold, victim, grade)
            case _:
                limits = limiting.limits(grade, self._held(victim), _known(wish))
                await self._limit(hold, victim, limits, wish.reason)
                return limiting.shown(limits)

    async def undo(self, hold: Hold) -> None:
        """End what is in force.

        Raises:
            CgagentError: it cannot be ended now; it is still in force.
        """
        there = self._holds.find(hold.policy, hold.watched, hold.step)
        if there is None:
            return  # another has been faster
        hold = there
        kind, _, id_ = hold.step.victim.partition(":")
        if kind == "cgroup":
            await self._undo_group(self._host.group(id_), hold)
        elif subject := self._subjects.get(hold.step.victim):
            await self._undo_subject(subject, hold)
        self._holds.drop(hold)

    def state(self, hold: Hold) -> State:
        """Whether it still is in force, has ended by itself, or by its user's will."""
        kind, _, id_ = hold.step.victim.partition(":")
        if kind == "cgroup":
            has_ended = hold.until_ns is not None and time.time_ns() >= hold.until_ns
            is_there = self._host.group(id_).inodes() == hold.inodes
            return "in force" if is_there and not has_ended else "over"
        subject = self._subjects.get(hold.step.victim)
        if subject is None:
            return "over"
        if hold.action == "freeze":
            return _freeze_state(subject, hold)
        held = of_owner(subject.overrides, OWNER + hold.policy)
        names = {name for name, _ in held.limits} if held is not None else set()
        return "in force" if {name for name, _ in hold.limits} <= names else "given up"

    # -- what is done once ------------------------------------------------------------------

    @staticmethod
    async def _tell(wish: Wish, grade: Grade, victim: Target) -> str:
        url, rules = grade.options["url"], wish.running.rules
        body: dict[str, Any] = {
            "policy": rules.name,
            "watched": str(wish.watched.target),
            "target": str(victim),
            "container": victim.id if victim.kind == "container" else None,
            "reason": wish.reason,
            "message": grade.options.get("message", rules.description),
            "time_ns": time.time_ns(),
        }
        await webhooks.post(url, body)
        return f"told {url}"

    async def _reclaim(self, victim: Target, grade: Grade, facts: Facts) -> str:
        value, unit = grade.options["amount"]
        used = facts.usage.memory.current_bytes if facts.usage else None
        if used is None:
            raise UnsupportedError(f"{victim}: its memory is not known")
        amount = int(used * value / 100 if unit == "percent" else min(value, used))
        group = self._group(victim)
        async with self._jobs.run("reclaim", **_named(victim)), self._reclaims:
            freed = await asyncio.to_thread(group.reclaim, amount)
        self.reclaimed_bytes += freed
        return f"{freed} bytes were given back of {amount}"

    async def _kill(self, victim: Target) -> str:
        """As the kernel would for want of memory: a restart policy starts it again."""
        if victim.kind == "cgroup":
            self._require_not_ours(victim)
            await self._groups.act(victim.id, "kill", force=True, timeout_s=KILL_S)
            return ""
        subject = self._subject(victim)
        if victim.kind == "group":
            self._require_not_ours(victim)
        async with self._jobs.run("kill", **_named(victim)):
            await subject.kill()
        return ""

    # -- what is in force for a time ---------------------------------------------------------

    async def _freeze(self, hold: Hold, victim: Target, grade: Grade) -> str:
        for_s = grade.options["for"]
        if victim.kind == "cgroup":
            self._require_not_ours(victim)
            until_ns = time.time_ns() + int(for_s * 1e9)
            group = self._host.group(victim.id)
            if group.freezer_state() == "frozen":
                raise ConflictError(f"{victim} is frozen already")
            hold = replace(hold, until_ns=until_ns, inodes=group.inodes())
            with self._holds.kept(hold):
                await self._groups.act(victim.id, "freeze", force=True, timeout_s=FREEZE_S)
            return f"for {for_s:g} s"
        if victim.kind == "group":
            self._require_not_ours(victim)
        subject = self._subject(victim)
        with self._holds.kept(hold):
            await subject.freeze(for_s)
            self._holds.until(hold, subject.thaw_at_ns)
        return f"for {for_s:g} s"

    async def _limit(self, hold: Hold, victim: Target, limits: Limits, why: str) -> None:
        hold = replace(hold, limits=limits, reason=why[:REASON_MAX])
        if victim.kind == "cgroup":
            group = self._host.group(victim.id)
            undo = await asyncio.to_thread(group.earlier, limits)
            hold = replace(hold, undo=undo, inodes=group.inodes())
            with self._holds.kept(hold):
                await self._groups.change(victim.id, limits, _NO_MORE, force=True)
            with contextlib.suppress(CgagentError):  # then all is put back, whoever changes it
                left = await asyncio.to_thread(group.earlier, limits)
                self._holds.put(replace(hold, left=left))
            return
        subject = self._subject(victim)
        there, others = of_owner(subject.overrides, OWNER + hold.policy), self._others(hold)
        again = self._holds.find(hold.policy, hold.watched, hold.step)
        if there and again:
            known = {name for name, _ in there.limits}
            before = Limits(**{n: v for n, v in again.limits if n in known})
            hold = replace(hold, limits=before.merged(limits))
        override = self._joined(there, others, hold)
        with self._holds.kept(hold):
            if override is not None:
                await subject.override(override)

    async def _undo_subject(self, subject: Subject, hold: Hold) -> None:
        if hold.action != "freeze":
            await self._let_go(subject, hold)
        elif self.state(hold) == "in force":
            with contextlib.suppress(ConflictError, NotFoundError):  # it has just ended
                await subject.thaw("policy")

    async def _let_go(self, subject: Subject, hold: Hold) -> None:
        """Of the override there is, leave what other grades have put there."""
        there = of_owner(subject.overrides, OWNER + hold.policy)
        if there is None:
            return
        left = self._joined(there, self._others(hold))
        if left is None:
            await subject.lift(there.owner)
        elif left != there:
            await subject.override(left)

    def _others(self, hold: Hold) -> list[Hold]:
        """What else of its ruleset is in force on the same target."""
        same = self._holds.find(hold.policy, hold.watched, hold.step)
        return [h for h in self._holds.on(hold.policy, hold.step.victim) if h is not same]

    @staticmethod
    def _joined(
        there: LimitOverride | None, others: list[Hold], new: Hold | None = None
    ) -> LimitOverride | None:
        """An override for the others and a new one; None: nothing is left.

        Of the others what its user has taken meanwhile, which is not `there` any more, is left out.
        """
        known = {name for name, _ in there.limits} if there else set()
        merged, raised, reasons = Limits(), set[str](), list[str]()
        for hold in (*others, *([new] if new else ())):
            kept = {n: v for n, v in hold.limits if hold is new or n in known}
            if kept:
                merged = merged.merged(Limits(**kept))
                raised = raised | kept.keys() if hold.action == "raise" else raised - kept.keys()
                reasons.append(hold.reason or (there.reason if there else ""))
        if not dict(merged):
            return None
        policy = (new or others[0]).policy
        return LimitOverride(
            owner=OWNER + policy,
            reason="; ".join(dict.fromkeys(reasons))[:REASON_MAX],
            since_ns=time.time_ns() if new or there is None else there.since_ns,
            limits=merged,
            widens=tuple(sorted(raised)),
        )

    async def _undo_group(self, group: Group, hold: Hold) -> None:
        if group.inodes() != hold.inodes:
            return  # it is gone, and what we did with it
        if hold.action == "freeze":
            await self._groups.act(group.path, "thaw", force=True, timeout_s=FREEZE_S)
        else:
            now = await asyncio.to_thread(group.earlier, hold.limits)
            await asyncio.to_thread(group.put_back, self._holds.bequeath(hold, now))

    def _require_not_ours(self, victim: Target) -> None:
        """Raises DeniedError: the machine's first process is in it, or one of the agent's."""
        if {1, *self._own_pids()} & {*self._host.group(victim.path or victim.id).pids()}:
            raise DeniedError(f"{victim}: the agent itself, or the machine's init, is in it")

    # -- targets ----------------------------------------------------------------------------

    def _running(self, target: Target) -> Container:
        container = self._containers.get(target.id)
        if container is None or not container.running:
            raise ConflictError(f"{target} has ended")
        return container

    def _not_stopping(self, target: Target) -> Container:
        container = self._running(target)
        if container.record.restart.held:
            raise ConflictError(f"{target} is being stopped by its user")
        return container

    def _group(self, target: Target) -> Group:
        if target.kind == "cgroup":
            return self._host.group(target.id)
        return self._subject(target).kernel()

    def _subject(self, target: Target) -> Subject:
        """Raises ConflictError: there is nothing to act on."""
        subject = self._subjects.get(target.key)
        if subject is None or not subject.running:
            raise ConflictError(f"{target} has ended")
        return subject

    def _held(self, target: Target) -> Limits:
        if target.kind == "cgroup":
            return self._host.group(target.id).held()
        return self._subject(target).held()


def _known(wish: Wish) -> Facts:
    if wish.facts is None:
        raise ConflictError(f"{wish.victim or wish.watched.target} has gone")
    return wish.facts


def _freeze_state(subject: Subject, hold: Hold) -> State:
    lease = subject.thaw_at_ns
    if hold.until_ns is not None and subject.frozen and lease == hold.until_ns:
        return "in force"
    is_early = hold.until_ns is not None and time.time_ns() < hold.until_ns - _SOON_NS
    return "given up" if is_early and subject.running else "over"


_SOON_NS: Final = 200_000_000
"""A lease's end and our look at it are not the same moment."""


def _named(target: Target) -> dict[str, str]:
    return {"cgroup": target.path} if target.kind == "group" else {target.kind: target.id}
