"""Progress of long work: moving bars on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cgagent.standard import control, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Show = "Callable[[dict[str, Any]], None]"


@contextmanager
def show() -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that shows one step of a layer."""
    if sys.stderr.isatty():
        with _bars() as shown:
            yield shown
    else:
        yield _lines()


def _lines() -> Callable[[dict[str, Any]], None]:
    last: dict[str, str] = {}

    def shown(step: dict[str, Any]) -> None:
        layer, status = step["layer"], step["status"]
        if last.get(layer) != status:
            last[layer] = status
            print(printable(f"{layer}: {status}" if layer else status), file=sys.stderr)

    return shown


@contextmanager
def _bars() -> Iterator[Callable[[dict[str, Any]], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=Console(file=control(2))) as progress:
        tasks: dict[str, TaskID] = {}

        def shown(step: dict[str, Any]) -> None:
            layer = step["layer"]
            if layer not in tasks:
                tasks[layer] = progress.add_task(layer, total=None, status="")
            progress.update(
                tasks[layer],
                completed=step["current_bytes"],
                total=step["total_bytes"],
                status=step["status"],
            )

        yield shown
