"""What keeps tasks from a CPU: quotas, and what `contention` tells of.

The time in which some task waited for a CPU (cpu.pressure) has both in it, quotas that are used
up and CPUs that others have. What quotas do not explain of it is the latter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.policy.causes import commands, contention
from cgagent.policy.causes.values import LEAST_SHARE, Cause, Evidence
from cgagent.policy.causes.waiting import seconds, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.policy.causes.figures import Group, Situation


def causes(situation: Situation) -> Iterator[Cause]:
    figures = situation.own.figures
    waited = figures.run_delay if figures.cpu_some is None else figures.cpu_some
    quotas = _throttled(situation, None if waited is None else min(waited, 1.0))
    for group, share in quotas:
        if share >= LEAST_SHARE:
            yield _of_quota(situation, group, share)
    rest = min(waited or 0.0, 1.0) - sum(share for _, share in quotas)
    if rest >= LEAST_SHARE:
        yield contention.cause(situation, rest)


def _throttled(situation: Situation, waited: float | None) -> list[tuple[Group, float]]:
    """Each group whose quota was used up, with what that cost the one in question.

    A quota above it holds it back no longer than it wanted to run. Time throttled is summed over
    CPUs, so that all together are no more than the time in which some task waited.
    """
    found = []
    for group in (*situation.chain, *situation.below):
        quota, throttled = group.limits.cpu_quota_us, group.figures.throttled
        if not isinstance(quota, int) or not throttled:
            continue
        if waited is None and group is not situation.own and not situation.own.figures.cpu_cores:
            continue  # it wanted nothing
        found.append((group, min(throttled, 1.0)))
    total = sum(share for _, share in found)
    if waited is None or total <= waited:
        return found
    return [(group, share * waited / total) for group, share in found]


def _of_quota(situation: Situation, group: Group, share: float) -> Cause:
    figures, limits = group.figures, group.limits
    quota, period = limits.cpu_quota_us, limits.cpu_period_us or 100_000
    assert isinstance(quota, int)  # noqa: S101 - as it was chosen
    cores = quota / period
    wanted = cores / max(1 - min(figures.throttled or 0.0, 1.0), 0.25)
    evidence = [
        Evidence(what="quota", value=round(cores, 3), unit="CPUs", file=group.file("cpu.max"))
    ]
    if figures.throttled_periods is not None:
        periods = f"{figures.throttled_periods} of {figures.periods}"
        evidence.append(
            Evidence(what="throttled", value=periods, unit="periods", file=group.file("cpu.stat"))
        )
        evidence.append(seconds("throttled", figures.throttled, situation, group.file("cpu.stat")))
    elif figures.throttled is not None:  # of a history
        percent = round(100 * figures.throttled)
        evidence.append(Evidence(what="throttled", value=percent, unit="% of its periods"))
    evidence += waiting(situation)
    return Cause(
        kind="cpu-quota",
        group=group.path,
        container=group.container,
        share=share,
        says=f"{situation.whose(group)} CPU quota of {cores:g} CPUs is used up",
        evidence=tuple(evidence),
        commands=(
            commands.change(group, "--cpus", commands.cpus(wanted, situation.machine.cores)),
            commands.change(group, "--cpu-quota", "-1"),
        ),
    )
