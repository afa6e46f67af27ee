"""The cpu controller: weight, quota, burst, idle; v1 cpu and cpuacct against v2 cpu.

Sources: Documentation/scheduler/sched-bwc.rst, sched-rt-group.rst, admin-guide/cgroup-v2.rst.
cpu.idle since Linux 5.15; bursts since 5.14 (v1), 5.16 (v2).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ClassVar, Final

from cgagent.cgroups import amount, files
from cgagent.cgroups.changes import Write, refuse
from cgagent.cgroups.hierarchy import names_below
from cgagent.cgroups.limits import Limits
from cgagent.cgroups.usage import Cpu
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIELDS: Final = frozenset(
    {
        "cpu_weight",
        "cpu_shares",
        "cpu_quota_us",
        "cpu_period_us",
        "cpu_burst_us",
        "cpu_idle",
        "cpu_rt_period_us",
        "cpu_rt_runtime_us",
    }
)

_QUOTA_CAUSES: Final = {
    errno.EINVAL: "a period is 1000..1000000 us, a quota at least 1000 us and no larger a share "
    "than the parent group's, a burst no larger than the quota"
}
_RT_CAUSES: Final = {
    errno.EINVAL: "a runtime is at most its period, and a share the parent group has for it",
    errno.EBUSY: "realtime tasks are in the group: a runtime of 0 would stop them",
}
_ONLY_V1: Final = {
    "cpu_rt_period_us": "cpu.rt_period_us",
    "cpu_rt_runtime_us": "cpu.rt_runtime_us",
}
_WEIGHT_CAUSES: Final = {errno.EINVAL: "the group is idle: set cpu_idle to false too"}


_COUNTS: Final = ("nr_periods", "nr_throttled", "nr_bursts")
_STAT_V1: Final = files.Keys(*_COUNTS, "throttled_time", "burst_time")
_TICKS_V1: Final = files.Keys("user", "system")
_DIVISION_V2: Final = files.Keys("user_usec", "system_usec")
_SAME: Final = 0.01
_SAME_NS: Final = 20_000_000
"""The two hierarchies are read one after the other."""
_LOCAL_V1: Final = files.Keys("throttled_time")
_TIMES_V2: Final = ("usage_usec", "user_usec", "system_usec", "throttled_usec", "burst_usec")
_STAT_V2: Final = files.Keys(*_COUNTS, *_TIMES_V2)
_LOCAL_V2: Final = files.Keys("throttled_usec")


class CpuV1:
    """cpu.* in one directory, cpuacct.* in the same (co-mounted) or another one.

    How CPU time divides into user and system is exact in the cpu.stat of the same group in
    cgroup2, on a hybrid host whose tasks are in it (`unified`). v1 alone counts both in ticks
    (cpuacct.stat), which give the ratio; cpuacct.usage_user and _sys are ticks, too, and do not
    add up to the usage.
    """

    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str, accounting: str, unified: str | None = None) -> None:
        self._dir = directory
        self._acct = accounting
        self._unified = unified

    def writes(self, limits: Limits) -> list[Write]:
        weight = _weight_writes(limits, f"{self._dir}/cpu.shares", limits.shares)
        return [*weight, *self._quota_writes(limits), *self._realtime_writes(limits)]

    def _quota_writes(self, limits: Limits) -> list[Write]:
        if limits.cpu_quota_us is not None or limits.cpu_period_us is not None:
            self._refuse_other_shares(limits)
        new: list[Write] = []
        if limits.cpu_period_us is not None:
            new.append(self._write("cpu_period_us", "cpu.cfs_period_us", limits.cpu_period_us))
        if limits.cpu_quota_us is not None:
            value = amount.spell(limits.cpu_quota_us, unlimited="-1")
            new.append(self._write("cpu_quota_us", "cpu.cfs_quota_us", value))
        # Two files, one ratio: in between it must not exceed the larger of old and new, which
        # alone the parent is known to allow. So a growing period comes first.
        if self._is_lowered(limits.cpu_period_us, "cpu.cfs_period_us"):
            new.reverse()
        return _with_burst(new, limits, f"{self._dir}/cpu.cfs_burst_us")

    def _refuse_other_shares(self, limits: Limits) -> None:
        """The kernel would refuse one of two files, whichever is written second."""
        quota, period = _share(self._dir)
        if limits.cpu_quota_us is not None:
            quota = limits.cpu_quota_us
        period = limits.cpu_period_us or period
        if not isinstance(quota, int) or not period:
            return
        refuses = f"limit cpu_quota_us: {self._dir}/cpu.cfs_quota_us refuses {quota} of each "
        refuses += f"{period} us: the group"
        directory = os.path.dirname(self._dir)
        while (above := _share(directory))[1]:
            if isinstance(above[0], int) and quota * above[1] > above[0] * period:
                raise InvalidInputError(
                    f"{refuses} above it, {directory}, has {above[0]} of each {above[1]} us, and "
                    "none below may have a larger share"
                )
            directory = os.path.dirname(directory)
        for directory, below in _quotas_below(self._dir):
            if below[0] * period > quota * below[1]:
                raise InvalidInputError(
                    f"{refuses} below it, {directory}, has {below[0]} of each {below[1]} us, and "
                    "may not have a larger share (cgroup v1); give that less first"
                )

    def _is_lowered(self, asked: int | None, name: str) -> bool:
        held = None if asked is None else files.number(files.read(f"{self._dir}/{name}"))
        return asked is not None and asked < (held or 0)

    def _realtime_writes(self, limits: Limits) -> list[Write]:
        asked = {
            "cpu_rt_period_us": limits.cpu_rt_period_us,
            "cpu_rt_runtime_us": limits.cpu_rt_runtime_us,
        }
        new = [
            Write(
                limit,
                f"{self._dir}/{_ONLY_V1[limit]}",
                amount.spell(value, unlimited="-1"),
                causes=_RT_CAUSES,
            )
            for limit, value in asked.items()
            if value is not None
        ]
        # As with the quota: the share of the period must not grow on the way.
        if self._is_lowered(limits.cpu_rt_period_us, "cpu.rt_period_us"):
            new.reverse()
        return new

    def _write(self, limit: str, name: str, value: object) -> Write:
        return Write(limit, f"{self._dir}/{name}", str(value), causes=_QUOTA_CAUSES)

    def held(self) -> Limits:
        def number(name: str) -> int | None:
            return files.number(files.read(f"{self._dir}/{name}"))

        idle = number("cpu.idle")
        return Limits(
            # An idle group's shares read as 3, which nobody asked for.
            cpu_shares=None if idle else number("cpu.shares"),
            cpu_quota_us=amount.parse(files.read(f"{self._dir}/cpu.cfs_quota_us")),
            cpu_period_us=number("cpu.cfs_period_us"),
            cpu_burst_us=number("cpu.cfs_burst_us"),
            cpu_rt_period_us=number("cpu.rt_period_us"),
            cpu_rt_runtime_us=amount.parse(files.read(f"{self._dir}/cpu.rt_runtime_us")),
            cpu_idle=None if idle is None else bool(idle),
        )

    def paths(self) -> Sequence[str]:
        return (
            f"{self._dir}/cpu.stat",
            f"{self._dir}/cpu.stat.local",
            f"{self._acct}/cpuacct.usage",
            f"{self._acct}/cpuacct.stat",
            *([f"{self._unified}/cpu.stat"] if self._unified else []),
        )

    def usage(self, texts: Sequence[str | None]) -> Cpu:
        stat, local, total, ticks, *unified = texts
        usage_ns = files.number(total)
        user_ns, system_ns = _divided(usage_ns, ticks, unified[0] if unified else None)
        periods, throttled, bursts, throttled_ns, burst_ns = _STAT_V1.values(stat)
        return Cpu(
            usage_ns=usage_ns,
            user_ns=user_ns,
            system_ns=system_ns,
            periods=periods,
            throttled_periods=throttled,
            throttled_ns=throttled_ns,
            throttled_local_ns=_LOCAL_V1.values(local)[0],
            bursts=bursts,
            burst_ns=burst_ns,
        )


def _divided(
    usage_ns: int | None, ticks: str | None, unified: str | None
) -> tuple[int | None, int | None]:
    """User and system time, together the usage: by cgroup2's ratio if it has the same tasks.

    A task comes into the hierarchies one after the other: without a ratio a short-lived group's
    user and system time would not be its usage. Else by the ticks' ratio.
    """
    user_us, system_us = _DIVISION_V2.values(unified)
    if usage_ns is not None and user_us is not None and system_us is not None:
        total_us = user_us + system_us
        is_same = abs(total_us * 1000 - usage_ns) <= usage_ns * _SAME + _SAME_NS
        if total_us and is_same:
            user_ns = usage_ns * user_us // total_us
            return user_ns, usage_ns - user_ns
    user, system = _TICKS_V1.values(ticks)
    if usage_ns is None or user is None or system is None:
        return None, None
    user_ns = usage_ns * user // (user + system) if user + system else usage_ns
    return user_ns, usage_ns - user_ns


def _quotas_below(directory: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Quota and period of the next ones that have a quota: those without have that above them."""
    for name in sorted(names_below(directory)):
        below = f"{directory}/{name}"
        quota, period = _share(below)
        if isinstance(quota, int):
            yield below, (quota, period)
        else:
            yield from _quotas_below(below)


def _share(directory: str) -> tuple[int | amount.Unlimited | None, int]:
    """Quota and period of a v1 group in microseconds; a period of 0 where there are none."""
    quota = amount.parse(files.read(f"{directory}/cpu.cfs_quota_us"))
    return quota, files.number(files.read(f"{directory}/cpu.cfs_period_us")) or 0


class CpuV2:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        refuse(_ONLY_V1, dict(limits), "in cgroup v2, which cannot give realtime tasks a share")
        weight = _weight_writes(limits, f"{self._dir}/cpu.weight", limits.weight)
        maximum = self._max_writes(limits)
        return [*weight, *_with_burst(maximum, limits, f"{self._dir}/cpu.max.burst")]

    def _max_writes(self, limits: Limits) -> list[Write]:
        if limits.cpu_quota_us is None and limits.cpu_period_us is None:
            return []
        path = f"{self._dir}/cpu.max"
        quota, period = (files.read(path) or "max 100000").split()
        if limits.cpu_quota_us is not None:
            quota = amount.spell(limits.cpu_quota_us)
        if limits.cpu_period_us is not None:
            period = str(limits.cpu_period_us)
        limit = "cpu_period_us" if limits.cpu_quota_us is None else "cpu_quota_us"
        return [Write(limit, path, f"{quota} {period}", causes=_QUOTA_CAUSES)]

    def held(self) -> Limits:
        idle = files.number(files.read(f"{self._dir}/cpu.idle"))
        quota, period = (files.read(f"{self._dir}/cpu.max") or " ").strip("\n").split(" ")
        return Limits(
            # An idle group's weight reads as 0.
            cpu_weight=None if idle else files.number(files.read(f"{self._dir}/cpu.weight")),
            cpu_quota_us=amount.parse(quota or None),
            cpu_period_us=files.number(period or None),
            cpu_burst_us=files.number(files.read(f"{self._dir}/cpu.max.burst")),
            cpu_idle=None if idle is None else bool(idle),
        )

    def paths(self) -> Sequence[str]:
        return f"{self._dir}/cpu.stat", f"{self._dir}/cpu.stat.local"

    def usage(self, texts: Sequence[str | None]) -> Cpu:
        periods, throttled, bursts, *times_us = _STAT_V2.values(texts[0])
        local_us = _LOCAL_V2.values(texts[1])
        total, user, system, throttled_ns, burst_ns, local_ns = (
            None if us is None else us * 1000 for us in (*times_us, *local_us)
        )
        return Cpu(
            usage_ns=total,
            user_ns=user,
            system_ns=system,
            periods=periods,
            throttled_periods=throttled,
            throttled_ns=throttled_ns,
            throttled_local_ns=local_ns,
            bursts=bursts,
            burst_ns=burst_ns,
        )


def _weight_writes(limits: Limits, path: str, value: int | None) -> list[Write]:
    """The weight and cpu.idle, in the order in which the kernel keeps both.

    An idle group refuses a weight, and going idle forgets it: so before it goes idle its
    present weight is written once more, for a roll-back to find.
    """
    directory, _, _ = path.rpartition("/")
    name = "cpu_weight" if limits.cpu_weight is not None else "cpu_shares"
    weight = [Write(name, path, str(value), causes=_WEIGHT_CAUSES)] if value is not None else []
    if limits.cpu_idle is None:
        return weight
    idle = Write("cpu_idle", f"{directory}/cpu.idle", str(int(limits.cpu_idle)))
    if not limits.cpu_idle:
        return [idle, *weight]
    is_idle = (files.read(idle.path) or "").strip() == "1"
    if is_idle:
        return [idle]
    held = (files.read(path) or "").strip()
    return [*(weight or [Write("cpu_idle", path, held)]), idle]


def _with_burst(quota: list[Write], limits: Limits, path: str) -> list[Write]:
    """A burst may never exceed the quota: a smaller one goes first, a larger one last."""
    asked = limits.cpu_burst_us
    if asked is None:
        return quota
    burst = Write("cpu_burst_us", path, str(asked), causes=_QUOTA_CAUSES)
    held = files.number(files.read(path))
    return [burst, *quota] if asked <= (held or 0) else [*quota, burst]
