"""``/v1/policies`` and ``/v1/decisions``: rulesets, what they would do, and what they have done."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import Strict
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine
    from cgagent.engine.policies.running import Running

_KEPT: Final = 10_000


class PolicyBody(Strict):
    """A document as a file of rulesets has it; docs/policies.md has the words."""

    ruleset: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100)]


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter(tag="policies")

    @router.get("/v1/policies")
    async def list_policies(page: Paged) -> list[dict[str, Any]]:
        """List rulesets by name; `in_force` counts what they hold somebody to now."""
        shown = page.of(engine.rulesets.all(), lambda one: one.rules.name)
        return [_summary(engine, one) for one in shown]

    @router.post("/v1/policies", status_code=201)
    async def add_policies(body: PolicyBody, *, replace: bool = False) -> list[dict[str, Any]]:
        """Add all rulesets of a document, or none of them. They are at work from now on."""
        made = await engine.rulesets.add(body.model_dump(), replace=replace)
        return [_summary(engine, one) for one in made]

    @router.get("/v1/policies/{name}")
    async def inspect_policy(name: str) -> dict[str, Any]:
        """One, as it was asked for, with what is in force of it."""
        found = engine.rulesets.get(name)
        holds = [
            {
                "watched": engine.rulesets.name_of(hold.watched),
                "target": engine.rulesets.name_of(hold.step.victim),
                "grade": hold.step.grade + 1,
                "action": hold.action,
                "since_ns": hold.since_ns,
            }
            for hold in engine.rulesets.holds(name)
        ]
        return {**_summary(engine, found), "ruleset": found.table, "holds": holds}

    @router.delete("/v1/policies/{name}", status_code=204)
    async def remove_policy(name: str) -> Response:
        """Undo what it holds anybody to, and forget it."""
        await engine.rulesets.remove(name)
        return Response(status_code=204)

    @router.get("/v1/policies/{name}/test")
    async def evaluate_policy(name: str) -> dict[str, Any]:
        """Look once and do nothing: what each detector finds, and what would be done to whom."""
        running = engine.rulesets.get(name)
        await engine.rulesets.looked()
        return await _evaluated(engine, running)

    @router.get("/v1/decisions")
    async def list_decisions(
        page: Paged,
        policy: Annotated[str, Query(max_length=100)] = "",
        container: Annotated[str, Query(max_length=200)] = "",
        group: Annotated[str, Query(max_length=1000)] = "",
    ) -> list[dict[str, Any]]:
        """What rulesets decided and why, the newest first; as they come: events of type policy."""
        before = page.after
        if before is not None and not isinstance(before, int):
            raise InvalidInputError("after: this is no cursor of this list; take one of a Link")
        id_ = engine.containers.find(container).id if container else ""
        name = engine.container_groups.find(group).name if group else ""
        count = page.limit or _KEPT
        found = engine.rulesets.decisions.page(
            count + 1, before=before, policy=policy, container=id_, group=name
        )
        shown = found[:count]
        if len(found) > count:
            page.link(shown[-1].number)
        return [asdict(one) for one in shown]

    return router


def _summary(engine: Engine, running: Running) -> dict[str, Any]:
    rules = running.rules
    return {
        "name": rules.name,
        "description": rules.description,
        "origin": running.origin,
        "created_ns": running.created_ns,
        "dry_run": rules.dry_run,
        "actions": [grade.action for grade in rules.grades],
        "watched": len(engine.rulesets.watched(running)),
        "in_force": len(engine.rulesets.holds(rules.name)),
        "unknown": "" if running.is_known else running.unknown,
    }


def _told(option: Any) -> Any:
    """An option's value as it is written: a share with its unit."""
    if not isinstance(option, tuple):
        return option
    value, unit = option
    return f"{value:g}%" if unit == "percent" else value


async def _evaluated(engine: Engine, running: Running) -> dict[str, Any]:
    view = engine.rulesets.view()
    targets = []
    for target in engine.rulesets.watched(running):
        await asyncio.sleep(0)  # each may have a thousand victims to rank, and others wait
        facts = engine.rulesets.facts(target)
        if facts is None:
            continue  # it has just gone
        holds, findings = running.findings(target, facts)
        victims = running.ranked(target, view)
        targets.append(
            {
                "target": str(target),
                "holds": holds,
                "detectors": [asdict(finding) for finding in findings],
                "victims": [
                    {"target": str(v.target), "figure": v.text, "mark": v.mark} for v in victims
                ],
            }
        )
    grades = [
        {
            "action": grade.action,
            "after_s": grade.after_s,
            "for_s": grade.for_s,
            "has_condition": grade.unless is not None,
            "options": {name: _told(value) for name, value in grade.options.items()},
        }
        for grade in running.rules.grades
    ]
    return {"name": running.rules.name, "targets": targets, "grades": grades}
