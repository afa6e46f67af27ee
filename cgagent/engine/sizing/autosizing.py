"""Automatic sizes (``--auto-size``): what is advised, made the limit step by step.

A step is kept before it is made, so an agent that comes after one that was killed makes it once
more. What a user has set since is left alone, until automatic sizes are asked for again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import Limits, Oom
from cgagent.engine.lifecycle.resources import Resource
from cgagent.engine.options import sizes
from cgagent.engine.options.overrides import (
    AUTO_SIZE,
    BOOST,
    REASON_MAX,
    LimitOverride,
    below,
    in_force,
    of_owner,
)
from cgagent.engine.policies import decisions
from cgagent.errors import CgagentError, ConflictError
from cgagent.policy.autosize import Sight, Sized, Step, parse, told

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.observe.policies import Tick
    from cgagent.engine.policies.decisions import Decisions
    from cgagent.engine.sizing.usages import Usages
    from cgagent.metrics import Sample
    from cgagent.policy.autosize import Resource as Name
    from cgagent.store.states import StateRows

log = logging.getLogger(__name__)

_EVERY_S: Final = 60.0
_STALLED_PERCENT: Final = 2.0
"""Of the last 10 s in which some task waited for memory."""
_NEARLY_FULL: Final = 0.9
_THROTTLED_PERCENT: Final = 25.0
_THROTTLED_ROUNDS: Final = 5


@dataclass(slots=True)
class _One:
    """A container whose limits follow what it needs."""

    text: str
    is_dry: bool
    all: dict[Name, Sized]
    due_s: float = 0.0
    throttled: int = 0
    """Rounds in a row."""
    work: asyncio.Task[None] | None = None
    steps: list[tuple[Sized, Step]] = field(default_factory=list)
    """That are to be made."""


class AutoSizing(Resource):
    """A policy, in whose event loop it lives, and a resource: OOM kills end runs."""

    def __init__(
        self,
        containers: Containers,
        control: Control,
        usages: Usages,
        decided: Decisions,
        rows: StateRows,
    ) -> None:
        self._containers = containers
        self._control = control
        self._usages = usages
        self._decided = decided
        self._rows = rows
        self._all: dict[str, _One] = {}
        control.wished.append(self._wished)

    async def resume(self) -> None:
        """At the agent's start: go on, and make up for OOM kills, before anything is restarted."""
        documents = self._rows.all()
        known = {_key(c) for c in self._containers if c.record.config.auto_size}
        self._rows.delete(documents.keys() - known)
        for container in self._containers:
            one = self._of(container, documents.get(_key(container)))
            if one is None:
                continue
            for sized in one.all.values():
                if sized.size is not None and not sized.is_applied and not one.is_dry:
                    again = "it was cut short" if not sized.is_given_up else ""
                    one.steps += [(sized, _again(sized, again))] if again else []
            self._look_at_oom(container, one)
            self._go(container, one)
            if one.work is not None:
                await one.work

    # -- looking ----------------------------------------------------------------------------

    def _of(self, container: Container, document: str | None = None) -> _One | None:
        """None: it does not ask for it."""
        text = container.record.config.auto_size
        known = self._all.get(container.id)
        if known is not None and known.text == text:
            return known
        asked = parse(text)
        if asked is None:
            if self._all.pop(container.id, None):
                self._rows.delete([_key(container)])
            return None
        kept = _read(document, text) if document else {}
        if known is not None and not known.is_dry and not asked.is_dry:
            kept = {name: one.to_json() for name, one in known.all.items() if not one.is_given_up}
        found = {
            name: Sized(name=name, low=low, high=high, **kept.get(name, {}))
            for name, (low, high) in asked.ranges.items()
        }
        one = self._all[container.id] = _One(text, asked.is_dry, found)
        return one

    def _wished(self, container: Container, asked: Collection[str]) -> None:
        """Whoever asks once more wants it to begin again."""
        if "auto_size" in asked:
            one = self._of(container)
            for sized in one.all.values() if one is not None else ():
                if sized.is_given_up or not _is_held(container, sized):
                    sized.is_given_up, sized.is_applied, sized.size = False, False, None
                    sized.paused_until_s = 0.0

    def ticked(self, tick: Tick) -> None:
        now_s = time.monotonic()
        for container in self._containers:
            if not container.record.config.auto_size and container.id not in self._all:
                continue
            one = self._of(container)
            if one is None or one.work is not None:
                continue
            self._look_at_oom(container, one)
            sample = tick.latest(container.id)
            is_itself = container.running and not container.frozen and not _is_boosted(container)
            if is_itself and sample is not None:
                self._look(container, one, sample, tick, now_s)
            self._go(container, one)

    def _look(
        self, container: Container, one: _One, sample: Sample, tick: Tick, now_s: float
    ) -> None:
        is_due = now_s >= one.due_s
        strains = self._strains(container, one, sample, tick)
        if not is_due and not any(strains.values()):
            return
        advised = {}
        if is_due:
            one.due_s = now_s + _EVERY_S
            found = self._usages.advice(container, _held(container, one))
            advised = {a.resource.removesuffix("s"): a for a in found}
        for name, sized in one.all.items():
            self._look_at_user(container, one, sized)
            advice = advised.get(name)
            sight = Sight(
                now_s=time.time(),
                limit=(sized.size if one.is_dry else None) or _limit(container, sized),
                advised=advice.advised if advice else None,
                why=advice.why if advice else "",
                used=(sample.usage.memory.working_set_bytes or 0) if name == "memory" else 0.0,
                strain=strains[name],
            )
            step = sized.look(sight)
            if step is not None:
                one.steps.append((sized, step))

    def _look_at_user(self, container: Container, one: _One, sized: Sized) -> None:
        if one.is_dry or not sized.is_applied or sized.is_given_up:
            return
        if not _is_held(container, sized):
            self._give_up(container, one, sized)

    def _give_up(self, container: Container, one: _One, sized: Sized) -> None:
        sized.is_given_up = True
        self._keep(container, one)
        why = "its user has set that limit; ask for --auto-size again to have it back"
        self._tell(container, sized, decisions.GIVEN_UP, why)

    def _strains(
        self, container: Container, one: _One, sample: Sample, tick: Tick
    ) -> dict[Name, str]:
        """What tasks wait for because of a limit of ours, in words; empty: nothing."""
        found: dict[Name, str] = {"memory": "", "cpu": ""}
        memory, psi = sample.usage.memory, sample.usage.pressure.memory
        sized = one.all.get("memory")
        is_full = sized is not None and (memory.current_bytes or 0) >= (
            (sized.size or 0.0) * _NEARLY_FULL
        )
        if is_full and psi is not None and psi.some.avg10 >= _STALLED_PERCENT:
            found["memory"] = f"tasks waited for memory {psi.some.avg10:g}% of 10 s"
        rates = tick.rates(container.id)
        throttled = (rates.throttled_percent or 0.0) if rates else 0.0
        one.throttled = one.throttled + 1 if throttled >= _THROTTLED_PERCENT else 0
        if one.throttled >= _THROTTLED_ROUNDS:
            found["cpu"] = f"its CPU quota was used up in {throttled:.0f}% of its periods"
        return found

    def happened(self, container: Container, event: Event) -> None:
        if isinstance(event, Oom):
            self._oomed(container)

    async def left(self, container: Container) -> None:
        """The end of a run: it may be one that nobody was told of before."""
        self._oomed(container)

    def _oomed(self, container: Container) -> None:
        one = self._of(container) if container.record.config.auto_size else None
        if one is not None:
            self._look_at_oom(container, one)
            self._go(container, one)

    def _look_at_oom(self, container: Container, one: _One) -> None:
        seen, sized = container.record.outcome.oom, one.all.get("memory")
        if seen is None or sized is None or seen["limiting_group"] != container.record.cgroup_path:
            return
        limit = seen["limit_bytes"] or sized.size or 0.0
        step = sized.oom(float(limit), seen["at_ns"] / 1e9)
        if step is not None:
            one.steps.append((sized, step))

    # -- acting -----------------------------------------------------------------------------

    def _go(self, container: Container, one: _One) -> None:
        if one.steps and one.work is None:
            one.work = asyncio.create_task(self._make(container, one))
            one.work.add_done_callback(lambda _: setattr(one, "work", None))

    async def _make(self, container: Container, one: _One) -> None:
        while one.steps:
            sized, step = one.steps.pop(0)
            if one.is_dry:
                sized.is_applied = True
                self._tell(container, sized, decisions.DRY_RUN, step.reason)
            elif step.size == _limit(container, sized) and sized.is_applied:
                self._tell(container, sized, decisions.FAILED, step.reason)
            else:
                await self._apply(container, one, sized, step)
            self._keep(container, one)

    async def _apply(self, container: Container, one: _One, sized: Sized, step: Step) -> None:
        self._keep(container, one)
        there = of_owner(container.record.overrides, AUTO_SIZE)
        known = _users(container, sized)

        def require_unchanged() -> None:
            is_other = of_owner(container.record.overrides, AUTO_SIZE) is not there
            if is_other or _users(container, sized) != known:
                raise ConflictError("its user has changed its limits meanwhile")

        try:
            limits = sizes.limits(sized.name, step.size)
            override = LimitOverride(
                owner=AUTO_SIZE,
                reason=f"automatic size of {sized.name}: {step.reason}"[:REASON_MAX],
                since_ns=time.time_ns(),
                limits=there.limits.merged(limits) if there else limits,
            )
            await self._control.override(container, override, check=require_unchanged)
        except CgagentError as e:
            sized.failed(time.time())
            if _users(container, sized) != known:
                self._give_up(container, one, sized)
            elif not container.removed:
                self._tell(container, sized, decisions.FAILED, f"{step.reason}; {e.message}")
        else:
            sized.is_applied = True
            self._tell(container, sized, decisions.DONE, step.reason)

    def _tell(self, container: Container, sized: Sized, outcome: str, reason: str) -> None:
        why = f"{sized.name}: {reason}"
        self._decided.note_own(AUTO_SIZE, "size", container, outcome=outcome, reason=why)

    def _keep(self, container: Container, one: _One) -> None:
        document = {"text": one.text, "sizes": {n: s.to_json() for n, s in one.all.items()}}
        try:
            if not container.removed:
                self._rows.put({_key(container): json.dumps(document)})
        except CgagentError as e:  # a full disk: an agent that comes after begins anew
            log.warning("automatic sizes of %s are not kept: %s", container.name, e.message)

    def forgotten(self, container_id: str) -> None:
        if self._all.pop(container_id, None) is not None:
            self._rows.delete([f"container:{container_id}"])

    async def close(self) -> None:
        works = [one.work for one in self._all.values() if one.work is not None]
        if works:
            await asyncio.wait(works)

    def view(self, container_id: str) -> list[dict[str, Any]]:
        """For people."""
        found = self._all.get(container_id)
        return [
            {
                "resource": sized.name,
                "size": sized.size,
                "least": sized.low,
                "most": sized.high,
                "paused_until_s": sized.paused_until_s,
                "is_dry_run": one.is_dry,
                "is_given_up": sized.is_given_up,
            }
            for one in ([] if found is None else [found])
            for sized in one.all.values()
        ]


def _again(sized: Sized, why: str) -> Step:
    size = sized.size or sized.high
    return Step(size, f"to {told(sized.name, size)}: {why}")


def _read(document: str, text: str) -> dict[str, dict[str, Any]]:
    try:
        value = json.loads(document)
        found: dict[str, dict[str, Any]] = value["sizes"] if value["text"] == text else {}
        for name, one in found.items():
            Sized(name=name, low=0.0, high=0.0, **one)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as e:
        log.warning("automatic sizes are begun anew: %r", e)
        return {}
    return found


def _is_held(container: Container, sized: Sized) -> bool:
    """Is there an override of ours, and no user has taken this limit out of it?"""
    override = of_owner(container.record.overrides, AUTO_SIZE)
    names = {name for name, _ in override.limits} if override else set()
    return sizes.NAMES[sized.name] <= names


def _users(container: Container, sized: Sized) -> tuple[float | None, bool]:
    """It is another when a user sets that limit."""
    return sizes.size(sized.name, container.record.limits), _is_held(container, sized)


def _limit(container: Container, sized: Sized) -> float | None:
    return sizes.size(sized.name, _in_force(container))


def _in_force(container: Container) -> Limits:
    """By its user's will and by ours."""
    record = container.record
    return in_force(record.limits, below(record.overrides, BOOST))


def _held(container: Container, one: _One) -> Limits:
    """What is advised starts from that: a dry run's own steps, too."""
    found = _in_force(container)
    for sized in one.all.values() if one.is_dry else ():
        if sized.size is not None:
            found = found.merged(sizes.limits(sized.name, sized.size))
    return found


def _is_boosted(container: Container) -> bool:
    return of_owner(container.record.overrides, BOOST) is not None


def _key(container: Container) -> str:
    return f"container:{container.id}"
