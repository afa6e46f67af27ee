"""The result as a table: on the terminal, and as the page docs/benchmarks.md."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from benchmarks.measures import Row

_HEADINGS = ("measure", "peer", "median", "p95", "unit", "ratio")


def show(rows: list[Row], notes: list[str]) -> None:
    """Print the table."""
    shown = Table(*_HEADINGS, title="less is better", title_justify="left")
    for column in ("median", "p95", "ratio"):
        shown.columns[_HEADINGS.index(column)].justify = "right"
    shown.columns[0].no_wrap = True
    previous = ""
    for cells in _cells(rows):
        if previous not in ("", cells[0]):
            shown.add_section()
        shown.add_row(cells[0] if cells[0] != previous else "", *cells[1:])
        previous = cells[0]
    console = Console(width=100)
    console.print(shown)
    for note in notes:
        console.print(note, markup=False)


def page(rows: list[Row], versions: dict[str, str], notes: list[str], *, rounds: int) -> str:
    """The table in Markdown, with what it was measured on."""
    machine = os.uname()
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench BENCH=--write`. Less is better; the ratio is to the first peer of",
        "a measure. Absolute figures drift from machine to machine, ratios less so.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, Linux {machine.release}, {os.cpu_count()} CPUs,",
        f"cgroup {'v2' if unified else 'v1'}. Latencies: {rounds} interleaved rounds. The image is",
        "busybox; limits everywhere: 256 MiB, half a CPU, 64 processes; no network.",
        "",
        *(f"- {name}: {version}" for name, version in versions.items()),
        *(f"- {note}" for note in notes),
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---|---|--:|--:|---|--:|",
        *(f"| {' | '.join(cells)} |" for cells in _cells(rows)),
        "",
    ]
    return "\n".join(lines)


def _cells(rows: list[Row]) -> list[tuple[str, ...]]:
    base: dict[str, float] = {}
    for row in rows:
        base.setdefault(row.measure, row.median)
    return [
        (
            row.measure,
            row.peer,
            _number(row.median),
            "" if row.p95 is None else _number(row.p95),
            row.unit,
            f"{_number(row.median / base[row.measure])}x" if base[row.measure] > 0 else "",
        )
        for row in rows
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
