"""What stops tasks, or fails them: a freeze, the OOM killer, a limit of tasks or of huge pages."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgagent.policy.causes import commands
from cgagent.policy.causes.values import Cause, Evidence
from cgagent.units import show_age, show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.policy.causes.figures import Group, OomReport, Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A container that does not run."""

    status: str
    """created, exited or restarting."""
    exit_code: int | None
    error: str | None
    age_s: float | None
    """Since its end; None: it was never started."""


def ended(container: Group, how: Ended, oom: OomReport | None) -> Cause:
    """Why a container that does not run does not."""
    says = "it was never started"
    if how.age_s is not None:
        ago = f"{show_age(how.age_s).lower()} ago"
        says = f"it ended {ago} with exit code {how.exit_code}"
    evidence = [Evidence(what="status", value=how.status)]
    more: tuple[str, ...] = ()
    if how.error:
        says = f"{says}: {how.error}"
    if oom is not None:
        where = oom.limiting_group or "the host"
        limit = "" if oom.limit_bytes is None else f" of {show_size(oom.limit_bytes)}"
        says = f"{says}: the OOM killer ended it, as the memory{limit} of {where} was used up"
        evidence.append(Evidence(what="killed", value=oom.victims, unit="processes"))
        if oom.limiting_group == container.path and oom.limit_bytes:
            more = (commands.change(container, "--memory", commands.memory(2 * oom.limit_bytes)),)
    if how.exit_code is not None:
        evidence.append(Evidence(what="exit code", value=how.exit_code))
    name = container.container or container.path
    start = () if how.status == "restarting" else (shlex.join(["cgagent", "start", name]),)
    return Cause(
        kind="oom" if oom is not None else "ended",
        group=(oom.limiting_group or "/") if oom is not None else container.path,
        container=container.container,
        share=1.0,
        fails=True,
        says=says,
        evidence=tuple(evidence),
        commands=(*more, *start, shlex.join(["cgagent", "logs", "--tail", "20", name])),
    )


def frozen(situation: Situation) -> Cause | None:
    group = next((group for group in situation.chain if group.is_frozen), None)
    if group is None:
        return None
    own = group is situation.own
    file = group.file("freezer.state" if "freezer" in group.directories else "cgroup.freeze")
    return Cause(
        kind="frozen",
        group=group.path,
        container=group.container,
        share=1.0,
        fails=True,
        says="it is frozen" if own else f"the {group.called} above it is frozen",
        evidence=(Evidence(what="frozen", value="yes", file=file),),
        commands=(commands.thaw(group),),
    )


def failures(situation: Situation) -> Iterator[Cause]:
    if situation.own.figures.oom_kills or situation.oom is not None:
        yield _of_oom(situation)
    group = _pids_limit(situation)
    if group is not None:
        yield _of_pids(situation, group)
    for group in situation.chain:
        if group.figures.hugetlb_refused:
            yield _of_huge_pages(situation, group)


def _of_oom(situation: Situation) -> Cause:
    """The report names whose limit it was; without one it is the nearest that was hit."""
    own, report = situation.own, situation.oom
    if report is not None:
        path = report.limiting_group
    else:  # v1 does not count each way of reaching a limit
        limited = [g for g in situation.chain if isinstance(g.limits.memory_max_bytes, int)]
        hit = (g.path for g in situation.chain if g.figures.max_hits)
        path = next(hit, limited[0].path if limited else None)
    group = next((g for g in situation.chain if g.path == path), None)
    evidence = []
    if own.figures.oom_kills is not None:
        kills = own.figures.oom_kills
        evidence.append(
            Evidence(what="killed", value=kills, unit="processes", file=own.file("memory.events"))
        )
    if report is not None:
        ago = f"{show_age(report.age_s).lower()} ago"
        evidence.append(Evidence(what="the last time", value=ago))
    if group is None:
        return _of_oom_elsewhere(own, path, tuple(evidence))
    limit = group.limits.memory_max_bytes
    size = limit if isinstance(limit, int) else (report.limit_bytes if report else None) or 0
    evidence.append(Evidence(what="limit", value=show_size(size), file=group.file("memory.max")))
    return Cause(
        kind="oom",
        group=group.path,
        container=group.container,
        share=None,
        fails=True,
        says=f"the OOM killer ends processes of it, as {situation.whose(group)} memory limit of "
        f"{show_size(size)} is reached",
        evidence=tuple(evidence),
        commands=(commands.change(group, "--memory", commands.memory(2 * size)),),
    )


def _of_oom_elsewhere(own: Group, path: str | None, evidence: tuple[Evidence, ...]) -> Cause:
    """By a limit below the group, or by none but the host's memory."""
    is_below = path is not None and path.startswith(f"{own.path}/")
    said = f"cgroup {path} below it reached its limit" if is_below else "the host's memory ran out"
    keep = commands.change(own, "--memory-low", commands.memory(own.figures.memory_bytes or 0))
    return Cause(
        kind="oom",
        group=path or "/",
        container=None,
        share=None,
        fails=True,
        says=f"the OOM killer ended processes of it: {said}",
        evidence=evidence,
        commands=() if is_below else (keep,),
    )


def _pids_limit(situation: Situation) -> Group | None:
    """The group whose limit of tasks is reached, where forks are refused or would be.

    Before Linux 6.11, and on v1, a refused fork is counted in the group in question, whoever's
    limit it was; so the limit is the nearest that is full.
    """
    refused = any(group.figures.forks_refused for group in situation.chain)
    for group in situation.chain:
        limit, tasks = group.limits.pids_max, group.figures.pids
        if isinstance(limit, int) and tasks is not None and tasks >= limit:
            return group
    if not refused:
        return None
    # Some have ended since.
    limited = [g for g in situation.chain if isinstance(g.limits.pids_max, int)]
    named = (g for g in limited if g.figures.forks_refused)
    return next(named, None) or min(limited, key=_room, default=None)


def _room(group: Group) -> float:
    limit = group.limits.pids_max
    return (limit if isinstance(limit, int) else 0) - (group.figures.pids or 0)


def _of_pids(situation: Situation, group: Group) -> Cause:
    limit = group.limits.pids_max
    most = limit if isinstance(limit, int) else 0
    counted = {situation.own.path: situation.own, group.path: group}.values()
    refused = sum(one.figures.forks_refused or 0 for one in counted)
    tasks = round(group.figures.pids or 0)
    return Cause(
        kind="pids-limit",
        group=group.path,
        container=group.container,
        share=None,
        fails=True,
        says=f"{situation.whose(group)} limit of {most} tasks is reached: no further process or "
        "thread can start",
        evidence=(
            Evidence(what="tasks", value=tasks, file=group.file("pids.current")),
            Evidence(what="limit", value=most, file=group.file("pids.max")),
            Evidence(what="forks refused", value=refused, file=group.file("pids.events")),
        ),
        commands=(commands.change(group, "--pids-limit", str(2 * most)),),
    )


def _of_huge_pages(situation: Situation, group: Group) -> Cause:
    refused = group.figures.hugetlb_refused or 0
    file = group.file("hugetlb.events")
    return Cause(
        kind="hugetlb-limit",
        group=group.path,
        container=group.container,
        share=None,
        fails=True,
        says=f"{situation.whose(group)} limit of huge pages is reached",
        evidence=(Evidence(what="refused", value=refused, unit="times", file=file),),
        commands=tuple(
            commands.change(group, "--hugetlb", f"{size}:{commands.memory(2 * most)}")
            for size, most in group.limits.hugetlb_max_bytes or ()
            if isinstance(most, int)
        ),
    )
