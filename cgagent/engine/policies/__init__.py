"""Rulesets at work: looked at with each round of sampling, and carried out as a user would.

    sampler ─ tick ─> rulesets ─ facts (`sources`) ─> `running`: condition, course ─ order ─┐
                          │                                                                 v
            rows: rulesets, holds, decisions <── `holds`, `decisions` <──────────────── `acting`
                                                                                            │
                       containers' overrides, freezes, ends; groups of the host <───────────┘

What is in force is a row before it begins and until it has ended, so whoever dies, nothing is left
without an owner. What is to be done is decided in `cgagent.policy`, which has no input or output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.engine.policies.acting import Acting
from cgagent.engine.policies.carrying import Carrying
from cgagent.engine.policies.catalogue import Catalogue
from cgagent.engine.policies.decisions import Decisions
from cgagent.engine.policies.holds import Holds
from cgagent.engine.policies.rulesets import Rulesets
from cgagent.engine.policies.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.cgroups import Host
    from cgagent.config import Settings
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.hostgroups import HostGroups
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.policies.subjects import Subjects
    from cgagent.store.policies import PolicyRows


def made(
    settings: Settings,
    rows: PolicyRows,
    *,
    host: Host,
    containers: Containers,
    lifecycle: Lifecycle,
    subjects: Subjects,
    groups: HostGroups,
    jobs: Jobs,
    events: Events,
    watch: Callable[[Iterable[str]], None],
    own_pids: Callable[[], set[int]],
) -> Rulesets:
    """All of it put together; `watch` has groups of the host sampled.

    Raises:
        InvalidInputError, ConflictError: a file of the settings has a mistake.
    """
    holds, decided = Holds(rows), Decisions(rows, events)
    targets = Targets(host, containers, lifecycle.groups)
    acting = Acting(
        host=host,
        containers=containers,
        lifecycle=lifecycle,
        subjects=subjects,
        groups=groups,
        jobs=jobs,
        holds=holds,
        own_pids=own_pids,
    )
    return Rulesets(
        host=host,
        catalogue=Catalogue(rows, settings.policies, settings.cgroup_parent),
        holds=holds,
        decided=decided,
        targets=targets,
        acting=acting,
        carrying=Carrying(acting, holds, targets, decided),
        containers=containers,
        groups=lifecycle.groups,
        jobs=jobs,
        watch=watch,
    )
