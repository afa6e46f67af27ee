"""A terminal that shows what is on it: a program in tmux, typed to and looked at."""

from __future__ import annotations

import subprocess
import uuid
from typing import Self

from tests.world.agent import eventually


class Tmux:
    """Runs a shell of `size` (columns, rows) under a server of its own."""

    def __init__(self, size: tuple[int, int] = (150, 24)) -> None:
        self._server = f"cgagent-test-{uuid.uuid4().hex[:8]}"
        columns, rows = size
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows)),
            *("env", "-u", "COLUMNS", "-u", "LINES", "PS1=ready> ", "LC_ALL=C.UTF-8", "sh"),
        )
        self.wait_for("ready>")

    def type(self, *keys: str) -> None:
        """Keys as tmux names them; other text is typed."""
        self._tmux("send-keys", "--", *keys)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, text: str) -> str:
        """The screen when the text is on it."""
        try:
            eventually(lambda: text in self.screen(), timeout_s=30)
        except AssertionError:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.screen()}") from None
        return self.screen()

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._server, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["tmux", "-L", self._server, "kill-server"], check=False)
