"""What a program that watches groups costs, while it only samples and while it is scraped."""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from benchmarks.monitoring import heartbeat
from benchmarks.process import Daemon, Failure, cpu_seconds, pss_bytes
from tests.world.agent import SLOWNESS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTLE_S: Final = 12.0
_STEADY: Final = 1.02
_FIND_S: Final = 120.0 * SLOWNESS
_WATCH_S: Final = 20.0
_BEATING_S: Final = 40.0
_SCRAPE_EACH_S: Final = 5.0


class Result(NamedTuple):
    cpu_percent: float
    """Of a core, while it samples and nobody asks it."""
    scraped_percent: float
    """The same while it is scraped each 5 s."""
    memory_mib: float
    """Pages shared with others in proportion."""
    series: int
    scrape_ms: float
    """Median, everything and compressed."""
    blocked: Delays | None
    """Of its event loop in 40 s of scrapes."""
    machine: Delays | None
    """Of an idle loop meanwhile: what others on the machine do."""


class Delays(NamedTuple):
    """How late an event loop was."""

    longest_ms: float
    usual_ms: float
    """The longest of a second, in the median second."""

    def __str__(self) -> str:
        return f"{self.longest_ms:.0f} ({self.usual_ms:.0f})"


class Watching(Protocol):
    """A program that samples each second."""

    @property
    def heart(self) -> Path | None:
        """Where its event loop tells how late it is, if it does."""

    def pids(self) -> set[int]: ...
    def scrape(self) -> int:
        """Ask for all there is; how many figures came."""


def measure(program: Watching, groups: int) -> Result:
    _settle(program, groups)
    with _Spent(program) as alone:
        time.sleep(_WATCH_S)
    with _Spent(program) as scraped:
        seconds, series = _scrapes(program, _WATCH_S)
    with _hearts(program) as delays:  # apart, as a heart's beats cost CPU time
        _scrapes(program, _BEATING_S)
    blocked, machine = delays
    return Result(
        alone.percent,
        scraped.percent,
        pss_bytes(program.pids()) / 2**20,
        series,
        1000 * statistics.median(seconds),
        blocked,
        machine,
    )


def _settle(program: Watching, groups: int) -> None:
    seen, deadline = -1, time.monotonic() + _FIND_S
    time.sleep(_SETTLE_S)
    while time.monotonic() < deadline:
        found = program.scrape()
        if groups < found <= seen * _STEADY:
            return
        seen = found  # it still finds groups
        time.sleep(_SETTLE_S)


def _scrapes(program: Watching, for_s: float) -> tuple[list[float], int]:
    """How long each took, and the figures of the last."""
    seconds: list[float] = []
    series = 0
    ends_s = time.monotonic() + for_s
    while time.monotonic() < ends_s:
        began_s = time.monotonic()
        series = program.scrape()
        seconds.append(time.monotonic() - began_s)
        time.sleep(max(_SCRAPE_EACH_S - seconds[-1], 0))
    return seconds, series


class _Spent:
    """CPU time of the program's processes while it is entered."""

    def __init__(self, program: Watching) -> None:
        self._program = program
        self.percent = 0.0

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._before_s = cpu_seconds(self._program.pids())
        return self

    def __exit__(self, *_: object) -> None:
        spent_s = cpu_seconds(self._program.pids()) - self._before_s
        self.percent = 100 * spent_s / (time.monotonic() - self._began_s)


@contextmanager
def _hearts(program: Watching) -> Iterator[list[Delays | None]]:
    """The program's delays, and those of an idle process beside it, when it is left."""
    delays: list[Delays | None] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "heart"
        words = [sys.executable, "-m", "benchmarks.monitoring.heartbeat", str(file)]
        idle = Daemon(words, Path(folder) / "log", {})
        try:
            time.sleep(2 * SLOWNESS)  # until it takes the signal
            for pid in {idle.pid, *(program.pids() if program.heart else ())}:
                os.kill(pid, signal.SIGUSR1)
            yield delays
            time.sleep(1.1)  # its last second
            hearts = program.heart, file
            delays += [_delays(heart) if heart else None for heart in hearts]
        finally:
            idle.end()


def _delays(heart: Path) -> Delays:
    seconds = heartbeat.read(heart)
    return Delays(max(seconds), statistics.median(seconds))


def scrape(port: int, path: str) -> int:
    """Series of a text exposition that was asked for compressed; reads it all."""
    return sum(bool(line) and not line.startswith(b"#") for line in _lines(port, path))


def value(port: int, path: str, series: str) -> float:
    """Of the one series of this name, without labels, in a text exposition."""
    for line in _lines(port, path):
        name, _, number = line.partition(b" ")
        if name == series.encode():
            return float(number)
    raise Failure(f"{path}: there is no {series}")


def _lines(port: int, path: str) -> list[bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOWNESS)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        raise Failure(f"{path}: {error}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Failure(f"{path}: {answer.status} {body[:200]!r}")
    if answer.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return body.split(b"\n")
