"""How large containers' logs are, and volumes: counted slowly, each in a thread of its own.

A log's files are looked at one by one; a volume is walked, little by little, as it may have
millions of files. A scrape shows what was found last. The owner calls `start` and `stop`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from cgagent.errors import CgagentError
from cgagent.metrics.background import Background
from cgagent.metrics.walker import disk_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

LOG_S: Final = 60.0
"""Between two looks at the same log."""
VOLUME_S: Final = 60.0
"""Between two walks of the same volume, if walking it is quick."""
_LONGEST_WALK_S: Final = 600.0
"""After which a walk is given up."""
_REST: Final = 10
"""A walk that took long is repeated after so many times as long."""
_LOOK_S: Final = 5.0
"""After which a new log or volume is looked at."""
_BUSY: Final = 0.02
"""Of one CPU, at most, for volumes."""
_BURST_S: Final = 0.01
"""How long it walks without a rest."""


class _Found(NamedTuple):
    size_bytes: int | None
    due_s: float
    """When it is looked at again, by the monotonic clock."""


class Sizes:
    """`logs` has paths by the container's id, `volumes` directories by the volume's name."""

    def __init__(
        self, logs: Callable[[], Mapping[str, str]], volumes: Callable[[], Mapping[str, str]]
    ) -> None:
        self._logs = logs
        self._volumes = volumes
        self._log_bytes: dict[str, _Found] = {}
        self._volume_bytes: dict[str, _Found] = {}
        self._logger = Background("log sizes", lambda: self._run(self._logger, self.look_at_logs))
        self._walker = Background("volumes", lambda: self._run(self._walker, self.walk_volumes))

    def start(self) -> None:
        self._logger.start()
        self._walker.start()

    def stop(self) -> None:
        self._logger.stop()
        self._walker.stop()

    def log_bytes(self, container_id: str) -> int | None:
        """What its log and the older files of it have; None: no file, or not looked at so far."""
        found = self._log_bytes.get(container_id)
        return found and found.size_bytes

    def volume_bytes(self) -> dict[str, int]:
        """What volumes take on disk, by name; without those that are too large to be walked."""
        found = list(self._volume_bytes.items())
        return {name: one.size_bytes for name, one in found if one.size_bytes is not None}

    def look_at_logs(self) -> None:
        _look(self._log_bytes, self._logs(), lambda _, path: log_bytes(path), LOG_S)

    def walk_volumes(self) -> None:
        _look(self._volume_bytes, self._volumes(), self._walk, VOLUME_S)

    def _walk(self, name: str, path: str) -> int | None:
        pace = _Pace(self._walker)
        try:
            used, _ = disk_usage(path, pace.is_to_end)
        except (CgagentError, OSError) as error:
            if os.path.isdir(path):
                log.warning("volume %s: its size: %s", name, error)
            return None
        return None if pace.gave_up else used

    @staticmethod
    def _run(background: Background, look: Callable[[], None]) -> None:
        while not background.wait(_LOOK_S):
            look()


def _look(
    found: dict[str, _Found],
    there: Mapping[str, str],
    size: Callable[[str, str], int | None],
    interval_s: float,
) -> None:
    """At what is new, and at what is due again."""
    for gone in found.keys() - there.keys():
        del found[gone]
    for key, path in there.items():
        began_s = time.monotonic()
        if key not in found or began_s >= found[key].due_s:
            size_bytes = size(key, path)
            ended_s = time.monotonic()
            due_s = ended_s + max(interval_s, (ended_s - began_s) * _REST)
            found[key] = _Found(size_bytes, due_s)


def log_bytes(path: str) -> int | None:
    """Of a log and its older files, NAME.1 and so on; None where there is no file."""
    total = None
    with contextlib.suppress(OSError):  # that was the oldest
        for number in itertools.count():
            size = os.stat(f"{path}.{number}" if number else path).st_size
            total = size + (total or 0)
    return total


class _Pace:
    """Rests of a walk, and its end when it takes too long."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._ends_s = time.monotonic() + _LONGEST_WALK_S
        self._began_s = time.thread_time()
        self.gave_up = False

    def is_to_end(self) -> bool:
        """Asked before each directory."""
        taken_s = time.thread_time() - self._began_s
        if taken_s > _BURST_S:
            self._background.wait(taken_s * (1 / _BUSY - 1))
            self._began_s = time.thread_time()
        self.gave_up = self._background.is_stopping() or time.monotonic() > self._ends_s
        return self.gave_up
