"""Jobs: every change the agent makes, by name, with its steps, progress, outcome and duration.

Running jobs and the last `KEPT` finished ones are listed; a running one can be cancelled. Whoever
does a part of a job says so with `step`, wherever that is in the code.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from cgagent.engine.access.asking import current as current_request
from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from cgagent.engine.access.judge import Judge
    from cgagent.engine.containers.container import Record

KEPT: Final = 256
_MOST_UNSEEN: Final = 4096

Status = Literal["running", "done", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class Step:
    """A part of a job, from the end of the last one on; its times as the job's."""

    name: str
    started_at: float
    duration_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Job:
    """One change. Times are Unix seconds; durations are measured on the monotonic clock."""

    id: int
    name: str
    arguments: dict[str, str]
    started_at: float
    status: Status = "running"
    progress: str = ""
    error: str | None = None
    caller: str | None = None
    """Who has asked for it; None: the agent itself."""
    duration_s: float | None = None
    steps: list[Step] = field(default_factory=list)
    task: asyncio.Task[object] | None = field(default=None, repr=False)
    changed: Callable[[Job], None] = field(default=lambda _job: None, repr=False, compare=False)
    """Called with it whenever there is something new to tell."""
    began_s: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def age_s(self) -> float:
        """Since its start."""
        return time.perf_counter() - self.began_s

    def step(self, name: str) -> None:
        """Go on to a step; the one before, if there is one, ends here."""
        now = self.started_at + self.age_s
        self._end_step(now)
        self.steps.append(Step(name=name, started_at=now))
        self.changed(self)

    def tell(self, progress: str) -> None:
        """How far it is."""
        self.progress = progress
        self.changed(self)

    def end(self) -> None:
        self.duration_s = self.age_s
        self._end_step(self.started_at + self.duration_s)
        self.task = None

    def _end_step(self, now: float) -> None:
        if self.steps and self.steps[-1].duration_s is None:
            self.steps[-1].duration_s = now - self.steps[-1].started_at


_current: ContextVar[Job | None] = ContextVar("job", default=None)


def step(name: str) -> None:
    """The job that is done here goes on to this step; outside of a job it means nothing."""
    job = _current.get()
    if job is not None:
        job.step(name)


class Changes:
    """The jobs that have changed since one last looked; each once, however often it has.

    `hang_up` is called, once, for who has left too many of them unlooked at: nothing is kept then.
    """

    def __init__(self, hang_up: Callable[[], None]) -> None:
        self._hang_up: Callable[[], None] | None = hang_up
        self._loop = asyncio.get_running_loop()
        self._changed: dict[int, Job] = {}
        self._some = asyncio.Event()

    def add(self, job: Job) -> None:
        """Also from another thread."""
        self._loop.call_soon_threadsafe(self._put, job)

    def _put(self, job: Job) -> None:
        if self._hang_up is None:
            return
        self._changed[job.id] = job
        self._some.set()
        if len(self._changed) > _MOST_UNSEEN:
            self._changed.clear()
            hang_up, self._hang_up = self._hang_up, None
            hang_up()

    async def next(self) -> list[Job]:
        """At least one."""
        await self._some.wait()
        self._some.clear()
        found, self._changed = list(self._changed.values()), {}
        return found


class Jobs:
    """`observers` are told of every job that ends; `judge` may refuse one, by who asks for it."""

    def __init__(self, *observers: Callable[[Job], None], judge: Judge | None = None) -> None:
        self._observers = observers
        self._judge = judge
        self._running: dict[int, Job] = {}
        self._finished: deque[Job] = deque(maxlen=KEPT)
        self._ids = itertools.count(1)
        self._followers: set[Changes] = set()

    @contextmanager
    def followed(self, hang_up: Callable[[], None] = lambda: None) -> Iterator[Changes]:
        """What changes in the body: a job begins, goes on to a step, tells how far it is, ends."""
        changes = Changes(hang_up)
        self._followers.add(changes)
        try:
            yield changes
        finally:
            self._followers.discard(changes)

    def _changed(self, job: Job) -> None:
        for follower in list(self._followers):  # a worker thread may tell
            follower.add(job)

    def all(self) -> list[Job]:
        """Running ones first, then the finished, newest first."""
        return [*self._running.values(), *reversed(self._finished)]

    def get(self, job_id: int) -> Job:
        for job in self.all():
            if job.id == job_id:
                return job
        raise NotFoundError(f"job {job_id} is not known: the last {KEPT} finished ones are kept")

    def cancel(self, job_id: int) -> None:
        """Ask a running job to end. What it has half made, it removes.

        Raises:
            ConflictError: it has ended.
            DeniedError: it is another's, and the caller may cancel their own alone.
        """
        job = self.get(job_id)
        if self._judge is not None:
            self._judge.cancel(job)
        if job.status != "running" or job.task is None:
            raise ConflictError(f"job {job_id} ({job.name}) is {job.status}: nothing to cancel")
        job.status = "cancelled"
        job.task.cancel()

    def require_permitted(self, name: str, **arguments: str) -> None:
        """Raises DeniedError: whoever asks may do no such job, nor what is like it."""
        if self._judge is not None:
            self._judge.job(name, arguments)

    def require_permitted_container(self, record: Record) -> None:
        """Raises DeniedError: whoever asks may not have a container like this one."""
        if self._judge is not None:
            self._judge.record(record)

    @asynccontextmanager
    async def run(self, name: str, **arguments: str) -> AsyncIterator[Job]:
        """The body is the job: it ends with it, as it ends.

        Raises:
            DeniedError: whoever asks may not do that; nothing was begun.
        """
        self.require_permitted(name, **arguments)
        request = current_request()
        job = Job(
            id=next(self._ids),
            name=name,
            arguments=arguments,
            started_at=time.time(),
            task=asyncio.current_task(),
            caller=str(request.caller) if request else None,
            changed=self._changed,
        )
        if request:
            request.jobs.append(job)
        self._running[job.id] = job
        self._changed(job)
        outer = _current.set(job)
        try:
            yield job
            job.status = "done"
        except asyncio.CancelledError:
            if (
                job.status == "cancelled" and job.task is not None
            ):  # by `cancel`: tell whoever asked
                job.task.uncancel()
                raise ConflictError(f"job {job.id} ({name}) was cancelled") from None
            job.status = "cancelled"
            raise
        except BaseException as e:
            job.status = "failed"
            job.error = e.message if isinstance(e, CgagentError) else f"{type(e).__name__}: {e}"
            raise
        finally:
            _current.reset(outer)
            job.end()
            del self._running[job.id]
            self._finished.append(job)
            self._changed(job)
            for observe in self._observers:
                observe(job)
