"""An agent whose event loop tells how late it was: ``python -m ...heartbeat FILE serve [FLAGS]``.

From SIGUSR1 on the loop wants to wake each 5 ms; FILE has a line for each second, the longest
delay in it in milliseconds. Without more arguments than FILE: a loop that does nothing else, for
what the machine itself delays.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

_PERIOD_S: Final = 0.005


class _Heart:
    def __init__(self, loop: asyncio.AbstractEventLoop, file: TextIO) -> None:
        self._loop = loop
        self._file = file
        self._longest_s = 0.0
        self._ends_s = 0.0

    def start(self) -> None:
        now_s = self._loop.time()
        self._ends_s = now_s + 1
        self._beat(now_s)

    def _beat(self, due_s: float) -> None:
        now_s = self._loop.time()
        self._longest_s = max(self._longest_s, now_s - due_s)
        if now_s >= self._ends_s:
            print(f"{1000 * self._longest_s:.2f}", file=self._file, flush=True)
            self._longest_s, self._ends_s = 0.0, now_s + 1
        self._loop.call_at(now_s + _PERIOD_S, self._beat, now_s + _PERIOD_S)


def _beating(loop: asyncio.AbstractEventLoop, file: TextIO) -> asyncio.AbstractEventLoop:
    loop.add_signal_handler(signal.SIGUSR1, _Heart(loop, file).start)
    return loop


def read(file: Path) -> list[float]:
    """The longest delays, second by second, in milliseconds."""
    return [float(line) for line in file.read_text().splitlines()]


def main() -> None:
    path = sys.argv.pop(1)
    with open(path, "w", encoding="ascii") as file:
        if len(sys.argv) > 1:
            from cgagent.cli.main import main as cgagent
            from cgagent.loopwatch import WATCH

            make = WATCH.loop
            with patch.object(WATCH, "loop", lambda: _beating(make(), file)):
                cgagent()
        else:
            make = asyncio.new_event_loop
            with asyncio.Runner(loop_factory=lambda: _beating(make(), file)) as runner:
                runner.run(asyncio.sleep(3600))


if __name__ == "__main__":
    main()
