"""Jobs: every change the agent makes, by name, with its progress, outcome and duration.

Running jobs and the last `KEPT` finished ones are listed; a running one can be cancelled.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEPT: Final = 256

Status = Literal["running", "done", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class Job:
    """One change. Times are Unix seconds; `duration_s` is measured on the monotonic clock."""

    id: int
    name: str
    arguments: dict[str, str]
    started_at: float
    status: Status = "running"
    progress: str = ""
    error: str | None = None
    duration_s: float | None = None
    task: asyncio.Task[object] | None = field(default=None, repr=False)


class Jobs:
    """Args: observe: told the name, the outcome and the seconds of each job that ends."""

    def __init__(self, observe: Callable[[str, str, float], None]) -> None:
        self._observe = observe
        self._running: dict[int, Job] = {}
        self._finished: deque[Job] = deque(maxlen=KEPT)
        self._ids = itertools.count(1)

    def all(self) -> list[Job]:
        """Running ones first, then the finished, newest first."""
        return [*self._running.values(), *reversed(self._finished)]

    def get(self, job_id: int) -> Job:
        for job in self.all():
            if job.id == job_id:
                return job
        raise NotFoundError(f"job {job_id} is not known; the last {KEPT} finished ones are kept")

    def cancel(self, job_id: int) -> None:
        """Ask a running job to end. What it has half made, it removes.

        Raises:
            ConflictError: it has ended.
        """
        job = self.get(job_id)
        if job.status != "running" or job.task is None:
            raise ConflictError(f"job {job_id} ({job.name}) is {job.status}: nothing to cancel")
        job.task.cancel()

    @asynccontextmanager
    async def run(self, name: str, **arguments: str) -> AsyncIterator[Job]:
        """The body is the job: it ends with it, as it ends."""
        job = Job(
            id=next(self._ids),
            name=name,
            arguments=arguments,
            started_at=time.time(),
            task=asyncio.current_task(),
        )
        self._running[job.id] = job
        begin = time.perf_counter()
        try:
            yield job
            job.status = "done"
        except asyncio.CancelledError:
            job.status = "cancelled"
            raise
        except BaseException as e:
            job.status = "failed"
            job.error = e.message if isinstance(e, CgagentError) else f"{type(e).__name__}: {e}"
            raise
        finally:
            job.duration_s = time.perf_counter() - begin
            job.task = None
            del self._running[job.id]
            self._finished.append(job)
            self._observe(job.name, job.status, job.duration_s)
