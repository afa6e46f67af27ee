"""What steps have used, as their cgroups counted it, and the report of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.engine.build.values import Account, StepDone
from cgagent.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cgagent.cgroups import Usage


def account(usage: Usage | None, wall_s: float) -> Account:
    if usage is None:
        return Account(wall_s=wall_s)
    return Account(
        wall_s=wall_s,
        cpu_ns=usage.cpu.usage_ns,
        memory_peak_bytes=usage.memory.peak_bytes,
        io_read_bytes=None if usage.io is None else sum(d.rbytes for d in usage.io),
        io_write_bytes=None if usage.io is None else sum(d.wbytes for d in usage.io),
    )


def report(
    image_id: str, done: Iterable[StepDone], wall_s: float, whole: Usage | None
) -> dict[str, Any]:
    """Of a build: its image, all of it together, and each step. Sizes in bytes."""
    steps = sorted(done, key=lambda one: one.step.number)
    return {
        "image": image_id,
        "total": {
            **account(whole, wall_s).to_json(),
            "size_bytes": sum(one.size_bytes for one in steps if not one.cached),
            "steps": len(steps),
            "cached": sum(one.cached for one in steps),
        },
        "steps": [
            {
                "number": one.step.number,
                "stage": one.step.shown,
                "instruction": one.step.text,
                "cached": one.cached,
                "size_bytes": one.size_bytes,
                **(one.account.to_json() if one.account else {}),
            }
            for one in steps
        ],
    }


def over_the_limit(what: str, oom: Mapping[str, Any] | None, own: Account) -> str:
    """Why a step ended whose memory was not enough."""
    seen = oom or {}
    limit, peak = seen.get("limit_bytes"), own.memory_peak_bytes or seen.get("peak_bytes")
    limited = f"memory limit of {show_size(limit)}" if limit else "machine's memory"
    peaked = f"; its peak was {show_size(peak)}" if peak else ""
    return (
        f"{what} was killed: it needed more than the {limited}{peaked}; give the build more "
        "(--memory), or let the step do less at once"
    )
