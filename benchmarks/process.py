"""Commands and daemons of the engines, and what their processes cost."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.world.agent import SLOWNESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Failure(Exception):  # noqa: N818 - an outcome of a peer, reported in the table
    """A peer did not do what was asked; its own words."""


def command(*words: str, environment: dict[str, str] | None = None) -> str:
    """Run to its end and return its standard output."""
    try:
        ran = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{words[0]}: {error}") from None
    if ran.returncode != 0:
        words_of_its_own = ran.stderr.strip().splitlines() or ["no message"]
        raise Failure(f"{Path(words[0]).name}: status {ran.returncode}, {words_of_its_own[-1]}")
    return ran.stdout


class Daemon:
    """A server started in the foreground, its output in a file, ended by its PID."""

    def __init__(self, words: list[str], log: Path, environment: dict[str, str]) -> None:
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
            )
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, ready: Callable[[], object]) -> None:
        """Return when `ready` no longer raises `Failure`."""
        deadline = time.monotonic() + 30 * SLOWNESS
        while True:
            try:
                ready()
                return
            except Failure as failure:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"{failure}; {self.last_words()}") from None
                time.sleep(0.05)

    def last_words(self) -> str:
        """The last line of its log, which goes away with the run."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"last in its log: {lines[-1]}" if lines else "its log is empty"

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def named(*names: str) -> set[int]:
    """Processes here by the name the kernel keeps, 15 characters at most."""
    cut = {name[:15] for name in names}
    return {pid for pid in _pids() if _read(pid, "comm").strip() in cut}


def descendants(*roots: int) -> set[int]:
    """The roots and everything below them."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def command_line(pid: int) -> list[str]:
    return _read(pid, "cmdline").rstrip("\0").split("\0")


def pss_bytes(pids: set[int]) -> int:
    """Memory, pages shared with others counted in proportion."""
    total = 0
    for pid in pids:
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pids: set[int]) -> float:
    ticks = (sum(map(int, fields[11:13])) for pid in pids if (fields := _stat(pid)))
    return sum(ticks) / _TICKS_PER_S


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _stat(pid: int) -> list[str]:
    """The fields after the command's name: state, parent, ..."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    """A file of a process; empty when the process is gone."""
    try:
        return Path("/proc", str(pid), name).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
