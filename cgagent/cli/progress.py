"""Progress of long work: moving bars on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cgagent.standard import control, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

    Show = Callable[[dict[str, Any]], None]

_DONE: Final = frozenset({"Pull complete", "Already exists", "Pushed", "Layer already exists"})
_OTHER_LINES: Final = 4
"""Lines of the screen that bars leave free: for the total, the prompt, and other output."""


@contextmanager
def show() -> Iterator[Show]:
    """A function that shows one step of a layer."""
    if sys.stderr.isatty():
        with _bars() as shown:
            yield shown
    else:
        yield _lines()


def _lines() -> Show:
    last: dict[str, str] = {}

    def shown(step: dict[str, Any]) -> None:
        layer, status = step["layer"], step["status"]
        if last.get(layer) != status:
            last[layer] = status
            print(printable(f"{layer}: {status}" if layer else status), file=sys.stderr)

    return shown


@contextmanager
def _bars() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    console = Console(file=control(2))
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress, console).show


class _Bars:
    """A bar for each layer, as many as the screen has lines, and one for all of them.

    A layer that is done makes room for others where there are more than that.
    """

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._done: set[str] = set()
        self._hidden: set[str] = set()
        self._bytes: dict[tuple[str, str], tuple[int, int]] = {}
        self._total: TaskID | None = None

    def show(self, step: dict[str, Any]) -> None:
        layer, status = printable(step["layer"]), step["status"]
        if not layer:
            self._console.print(printable(status), markup=False, highlight=False)
            return
        if layer not in self._tasks:
            self._tasks[layer] = self._progress.add_task(layer, total=None, status="")
        now, end = step["current_bytes"], step["total_bytes"]
        if status in _DONE:
            self._done.add(layer)
            task = self._progress.tasks[self._tasks[layer]]
            now = end = task.total or task.completed or 1
        elif now is not None and end is not None:
            self._bytes[layer, status] = now, end
        self._progress.update(self._tasks[layer], completed=now, total=end, status=status)
        self._show_total()
        self._make_room()

    def _show_total(self) -> None:
        """The bytes to be fetched and unpacked, as far as that is known."""
        if len(self._tasks) == 1:
            return
        if self._total is None:
            self._total = self._progress.add_task("total", total=None, status="")
        self._progress.update(
            self._total,
            completed=sum(now for now, _ in self._bytes.values()),
            total=sum(end for _, end in self._bytes.values()) or None,
            status=f"{len(self._done)} of {len(self._tasks)} layers",
        )

    def _make_room(self) -> None:
        """The screen may have another size by now."""
        lines = max(1, self._console.size.height - _OTHER_LINES)
        waiting = [layer for layer in self._tasks if layer not in self._done]
        done = [layer for layer in self._tasks if layer in self._done]
        shown = set([*waiting, *reversed(done)][:lines])
        hidden = set(self._tasks) - shown
        for layer in hidden ^ self._hidden:
            self._progress.update(self._tasks[layer], visible=layer in shown)
        self._hidden = hidden
