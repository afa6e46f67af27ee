"""All rulesets at work: looked at with each round of sampling. Used in the event loop alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.policies import decisions
from cgagent.engine.policies.holds import Hold
from cgagent.engine.policies.running import View
from cgagent.engine.policies.sources import Sources
from cgagent.engine.policies.targets import HOST, sampled_id
from cgagent.errors import ConflictError
from cgagent.metrics import PolicyCounts, id_of_cgroup
from cgagent.policy.rulesets.course import Step
from cgagent.policy.rulesets.model import OWNER, selectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgagent.cgroups import Event, Host
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.observe.policies import Tick
    from cgagent.engine.policies.acting import Acting
    from cgagent.engine.policies.carrying import Carrying
    from cgagent.engine.policies.catalogue import Catalogue
    from cgagent.engine.policies.decisions import Decisions
    from cgagent.engine.policies.holds import Holds
    from cgagent.engine.policies.running import Running, Watched
    from cgagent.engine.policies.sources import Seen
    from cgagent.engine.policies.targets import Targets
    from cgagent.policy.facts import Facts
    from cgagent.policy.rulesets.model import Ruleset, Target

log = logging.getLogger(__name__)

_TIDY_S: Final = 60.0
_ROUND_S: Final = 3.0


class Rulesets:
    """A policy: it is told of each round of sampling."""

    def __init__(
        self,
        *,
        host: Host,
        catalogue: Catalogue,
        holds: Holds,
        decided: Decisions,
        targets: Targets,
        acting: Acting,
        carrying: Carrying,
        containers: Containers,
        groups: Groups,
        jobs: Jobs,
        watch: Callable[[Iterable[str]], None],
    ) -> None:
        """`watch` has groups sampled."""
        self._catalogue = catalogue
        self._holds = holds
        self.decisions = decided
        self._targets = targets
        self._acting = acting
        self._carrying = carrying
        self._containers = containers
        self._groups = groups
        self._jobs = jobs
        self._watch = watch
        self.sources = Sources(host)
        self._changing = asyncio.Lock()
        """One request after the other: what is let go of takes a while."""
        self._known: dict[str, Target] = {HOST.key: HOST}
        """Targets that have been sampled, by key; those that have ended stay until `_tidy`."""
        self._above: set[str] = set()
        """Keys of groups above others, whose pressure is looked at in each round all the same."""
        self._looking: dict[str, _Looking] = {}
        """The rulesets that look at each target, by the key of the target."""
        self._tidy_s = 0.0
        self._has_looked = asyncio.Event()
        """There has been a round with the rulesets that there are."""
        self._changed()

    def _changed(self) -> None:
        """There are other rulesets than before."""
        self._looking.clear()
        self._has_looked.clear()
        every = list(self._catalogue)
        self._watch({s.cgroup for one in every for s in selectors(one.rules) if s.cgroup})
        self.sources.needs = frozenset(need for one in every for need in one.needs())

    # -- which there are --------------------------------------------------------------------

    def all(self) -> list[Running]:
        """By name."""
        return list(self._catalogue)

    def get(self, name: str) -> Running:
        """Raises NotFoundError."""
        return self._catalogue.get(name)

    async def add(self, document: Any, *, replace: bool = False) -> list[Running]:
        """All rulesets of a document, or none.

        Raises:
            InvalidInputError: a mistake in it.
            ConflictError: there is one of a name already, or there are too many.
        """
        new = self._catalogue.parsed(document, "request")
        names = [rules.name for rules, _ in new]
        async with self._jobs.run("policy add", policy=", ".join(names)[:200]), self._changing:
            self._catalogue.require_free(names, replace=replace)
            self._catalogue.keep(new)
            for name in names:
                await self._let_go(name)
            made = self._catalogue.put(new)
            self._changed()
        return made

    async def remove(self, name: str) -> None:
        """Undo what it holds anybody to, and forget it.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is in a file of the settings.
        """
        async with self._jobs.run("policy remove", policy=name), self._changing:
            origin = self._catalogue.get(name).origin
            if origin:
                raise ConflictError(
                    f"policy {name} is in {origin}; remove it there, and have the agent read its "
                    "files again (systemctl reload cgagent, or SIGHUP)"
                )
            await self._let_go(name)
            self._catalogue.forget(name)
            self._changed()

    async def reload(self) -> None:
        """Read the files of the settings again. What is as it was goes on.

        Raises:
            InvalidInputError, ConflictError: a mistake in one; all goes on as it was.
        """
        async with self._jobs.run("policy reload"), self._changing:
            found = self._catalogue.found()
            names = self._catalogue.differing(found)
            for name in names:
                await self._let_go(name)
            self._catalogue.take(found[name] for name in names if name in found)
            self._changed()

    async def _let_go(self, name: str) -> None:
        """It is at work no more, and nothing of it is in force; what cannot be is tried again."""
        self._catalogue.withdraw(name)
        self._looking.clear()
        await self._carrying.settled(name)
        for hold in reversed(self._holds.of(name)):
            await self._carrying.undo(hold, "its policy was removed")

    # -- at the agent's start and end ---------------------------------------------------------

    async def resume(self) -> None:
        """Go on with what an earlier agent has done, and undo what has no owner any more."""
        for hold in self._holds:
            running = self._catalogue.find(hold.policy)
            if self._acting.state(hold) != "in force":
                await self._carrying.undo(hold, "it had ended, or not begun, as the agent did")
            elif running is None or not _is_of(running.rules, hold):
                await self._carrying.undo(hold, "its policy is not there any more")
        for running in self._catalogue:
            self._resume_courses(running)
        await self._lift_orphans()

    async def _lift_orphans(self) -> None:
        """Overrides of policies that have no hold: it could not be kept, or the row was lost."""
        owners = {(hold.policy, hold.step.victim) for hold in self._holds}
        held = [(f"container:{c.id}", c.record.overrides) for c in self._containers]
        held += [(f"group:{group.name}", group.overrides) for group in self._groups.all()]
        for key, overrides in held:
            for override in overrides:
                policy = override.owner.removeprefix(OWNER)
                if policy == override.owner or (policy, key) in owners:
                    continue
                hold = Hold(
                    policy=policy,
                    watched=key,
                    step=Step(0, key),
                    action="limits",
                    limits=override.limits,
                )
                await self._carrying.undo(self._holds.put(hold), "no policy answers for it")

    def _resume_courses(self, running: Running) -> None:
        holds = self._holds.of(running.rules.name)
        for key in dict.fromkeys(hold.watched for hold in holds):
            of_key = [hold for hold in holds if hold.watched == key]
            target = self._targets.of_key(key)
            if target is not None:
                running.resume(target, [hold.step for hold in of_key])
                continue
            for hold in of_key:
                self._carrying.adopt(hold)

    async def close(self) -> None:
        """What is in force stays so: the next agent goes on."""
        await self._carrying.close()

    # -- each round --------------------------------------------------------------------------

    def happened(self, container: Container, event: Event) -> None:
        """The figures of the next round tell what of the kernel's events is looked at here."""

    def ticked(self, tick: Tick) -> None:
        if not self._catalogue and not self._carrying.has_orphans:
            return
        self.sources.next(tick)
        if not self._has_looked.is_set():
            self._meet_all()
        fresh = self._learn(tick)
        view = self.view()
        for hold in self._holds:  # before anything more is done: a user may want it otherwise
            self._carrying.look_after(self._catalogue.find(hold.policy), hold)
        above = filter(None, map(self._find, self._above))
        stale = (target for target in above if sampled_id(target) not in tick.fresh)
        for target in (*fresh, *stale, HOST):
            self._look(target, view)
        self._look_at_others(tick, view)
        self._carrying.retry(self.sources.at_s)
        self._has_looked.set()

    async def looked(self) -> None:
        """Wait until all rulesets have had a round, but no longer than one can take."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ROUND_S):
                await self._has_looked.wait()

    def _meet_all(self) -> None:
        """Learn all running containers and groups, also those not sampled in this round."""
        ids = [container.id for container in self._containers if container.running]
        for id_ in (*ids, *map(id_of_cgroup, self._groups.paths())):
            target = self._targets.get(id_)
            if target is not None:
                self._known.setdefault(target.key, target)

    def _learn(self, tick: Tick) -> list[Target]:
        """Who is there: all that is sampled comes by as fresh every few seconds."""
        found = [target for id_ in tick.fresh if (target := self._targets.get(id_)) is not None]
        for target in found:
            self._known[target.key] = target
            if target.kind in {"cgroup", "group"} and self.sources.is_above(target):
                self._above.add(target.key)
            self.sources.learn(target)
        if self.sources.at_s >= self._tidy_s:
            self._tidy_s = self.sources.at_s + _TIDY_S
            self._tidy()
        return found

    def _tidy(self) -> None:
        """Forget who has gone."""
        for key in [k for k, t in self._known.items() if t is not HOST and not self.facts(t)]:
            del self._known[key]
            self._looking.pop(key, None)
        self._above &= self._known.keys()
        kept = set(self._known)
        self._targets.forget_all_but(kept)
        for running in self._catalogue:
            running.forget_all_but(kept)
        self.sources.forget_all_but(set(map(sampled_id, self._known.values())))

    def facts(self, target: Target) -> Facts | None:
        """What is known of it now; None: it does not run, or is not there."""
        return self.sources.of(target) if self._is_there(target) else None

    def _find(self, key: str) -> Target | None:
        target = self._known.get(key)
        return target if target is not None and self._is_there(target) else None

    def _there(self) -> Iterator[Target]:
        return filter(self._is_there, self._known.values())

    def _is_there(self, target: Target) -> bool:
        known = HOST if target.kind == "host" else self._targets.get(sampled_id(target))
        return known is not None and known.key == target.key

    def view(self) -> View:
        """What there is to look at now."""
        return View(
            now_s=self.sources.at_s,
            find=self._find,
            there=self._there,
            facts=self.facts,
            marked=self._targets.marked,
        )

    def _look(self, target: Target, view: View) -> None:
        """Evaluate the rulesets that select a running target."""
        looking = self._looking_at(target)
        seen = self.sources.seen(target) if looking.by else None
        if not looking.by or (seen is not None and looking.has_done_with(seen)):
            return
        facts = self.sources.of(target)
        for running, one in looking.by:
            self._carrying.go(running.look(one, facts, view))
            if running.is_news:
                self._tell_unknown(running, target)
        is_done = all(running.has_nothing_to_do(one) for running, one in looking.by)
        looking.done_with = seen if is_done else None

    def _looking_at(self, target: Target) -> _Looking:
        known = self._looking.get(target.key)
        if known is None or known.target is not target:
            selecting = (r for r in self._catalogue if r.rules.select.fits(target))
            by = tuple((running, running.watch(target)) for running in selecting)
            known = self._looking[target.key] = _Looking(target, by)
        return known

    def _look_at_others(self, tick: Tick, view: View) -> None:
        """At those that have no new figures, where time alone may bring something about."""
        for running in self._catalogue:
            for one in running.active():
                if one.target.kind != "host" and sampled_id(one.target) not in tick.fresh:
                    self._carrying.go(running.look(one, self.facts(one.target), view))

    def _tell_unknown(self, running: Running, target: Target) -> None:
        """Once for each ruleset: it would never do anything, and nobody would know why."""
        running.is_news = False
        log.warning("policy %s: %s", running.rules.name, running.unknown)
        self.decisions.note(
            *(running.rules.name, str(target), "none", target),
            outcome=decisions.UNKNOWN,
            reason=running.unknown,
        )

    # -- looking in --------------------------------------------------------------------------

    def holds(self, policy: str) -> list[Hold]:
        """What is in force of it."""
        return self._holds.of(policy)

    def name_of(self, key: str) -> str:
        """Of a target."""
        target = self._targets.of_key(key)
        return str(target or key)

    def active(self) -> dict[str, int]:
        """How many grades of each ruleset are in force."""
        return {running.rules.name: len(self.holds(running.rules.name)) for running in self.all()}

    def counts(self) -> PolicyCounts:
        """For metrics; from any thread."""
        return PolicyCounts(
            decisions=dict(self.decisions.counts),
            in_force=self.active(),
            reclaimed_bytes=self._acting.reclaimed_bytes,
        )

    def watched(self, running: Running) -> list[Target]:
        """Whom a ruleset looks at."""
        fits = running.rules.select.fits
        return list(filter(fits, self._there()))


@dataclass(slots=True)
class _Looking:
    """Which rulesets look at a target."""

    target: Target
    by: tuple[tuple[Running, Watched], ...]
    done_with: Seen | None = None
    """The parts of the sample at which all rulesets were at rest; None: one of them was not."""

    def has_done_with(self, seen: Seen) -> bool:
        done = self.done_with
        return done is not None and all(map(is_, done, seen))


def _is_of(rules: Ruleset, hold: Hold) -> bool:
    """Whether the ruleset still has such a grade."""
    number = hold.step.grade
    return number < len(rules.grades) and rules.grades[number].action == hold.action
