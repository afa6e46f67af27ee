"""How long tasks waited for a CPU, as evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.policy.causes.values import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.policy.causes.figures import Situation


def seconds(what: str, share: float | None, situation: Situation, file: str) -> Evidence:
    return Evidence(
        what=what, value=round((share or 0.0) * situation.span_s, 3), unit="s", file=file
    )


def waiting(situation: Situation) -> Iterator[Evidence]:
    own = situation.own
    if own.figures.cpu_some is not None:
        yield seconds("some task waited", own.figures.cpu_some, situation, own.file("cpu.pressure"))
    elif own.figures.run_delay is not None:
        yield seconds(
            "tasks waited", own.figures.run_delay, situation, "/proc/PID/task/*/schedstat"
        )
    yield Evidence(
        what="used",
        value=round(own.figures.cpu_cores or 0.0, 3),
        unit="CPUs",
        file=own.file("cpu.stat"),
    )
