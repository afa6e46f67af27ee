"""A terminal of the tests' own: a program under a pty, typed to and read from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

from tests.world.agent import SLOWNESS

if TYPE_CHECKING:
    from types import TracebackType

CTRL_C, CTRL_D, CTRL_P, CTRL_Q, CTRL_Z = b"\x03", b"\x04", b"\x10", b"\x11", b"\x1a"
DETACH = CTRL_P + CTRL_Q
PROMPT = "# "
_WAIT_S = 20 * SLOWNESS


class Screen:
    """Runs `command` with a terminal of `size` (rows, columns) as its controlling one."""

    def __init__(self, command: list[str], size: tuple[int, int] = (24, 80)) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(*size)
        self._seen = b""
        self.settings = self._settings()
        self.process = subprocess.Popen(
            command,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one thread
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def _settings(self) -> list[object]:
        """Of the terminal, all of them."""
        return list(termios.tcgetattr(self._slave))

    @property
    def restored(self) -> bool:
        """Whether the terminal's settings are what they were before the program."""
        return self._settings() == self.settings

    def resize(self, rows: int, columns: int) -> None:
        """As a terminal emulator does: its foreground processes get SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: str | bytes) -> None:
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def read_more(self, timeout_s: float) -> bool:
        """Whether there was anything to read in that time."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(OSError):
            self._seen += os.read(self._master, 65536)
        return True

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the pattern has been printed; what comes after it is kept for the next."""
        deadline = time.monotonic() + _WAIT_S
        while not (match := re.search(pattern, self._seen.decode(errors="replace"))):
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {pattern!r} in {self._seen!r}")
            self.read_more(min(left, 0.1))
        self._seen = self._seen.decode(errors="replace")[match.end() :].encode()
        return match

    def rest(self) -> str:
        """What was printed since, when nothing more has come for a moment."""
        while self.read_more(0.3 * SLOWNESS):
            pass
        seen, self._seen = self._seen, b""
        return seen.decode(errors="replace")

    def wait(self) -> int:
        """The program's exit status; what it prints meanwhile is read."""
        deadline = time.monotonic() + _WAIT_S
        while self.process.poll() is None:
            self.read_more(0.05)
            if time.monotonic() > deadline:
                raise AssertionError(f"it has not ended: {self._seen!r}")
        while self.read_more(0):
            pass
        return self.process.returncode
