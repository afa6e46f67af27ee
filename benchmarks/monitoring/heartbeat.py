"""An agent whose event loop tells how late it was: ``python -m ...heartbeat FILE serve [FLAGS]``.

From SIGUSR2 on the loop wants to wake each 5 ms; FILE has a line for each second, the longest
delay in it in milliseconds. Without more arguments than FILE: a loop that does nothing else, for
what the machine itself delays.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Final

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


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        loop.add_signal_handler(signal.SIGUSR2, _Heart(loop, self._file).start)
        return loop


def read(file: Path) -> list[float]:
    """The longest delays, second by second, in milliseconds."""
    return [float(line) for line in file.read_text().splitlines()]


def main() -> None:
    path = sys.argv.pop(1)
    with open(path, "w", encoding="ascii") as file:
        asyncio.set_event_loop_policy(_Policy(file))
        if len(sys.argv) > 1:
            from cgagent.cli.main import main as cgagent

            cgagent()
        else:
            asyncio.run(asyncio.sleep(3600))


if __name__ == "__main__":
    main()
