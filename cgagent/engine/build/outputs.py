"""What builds tell while they go on, kept for who looks in: of those that run and of the last few.

The client of a build reads its stream; everybody else asks here, by the number of its job. Of each
build the last megabyte is kept: who comes late, or reads slowly, is told how much is missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from cgagent.broadcast import Broadcast
from cgagent.engine.build.values import StepOutput
from cgagent.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from cgagent.engine.build.values import Tell, Told

_KEPT_BYTES: Final = 1 << 20
_BESIDE_BYTES: Final = 400
"""What a message takes beside its text, or so."""
_ENDED: Final = 8


@dataclass(frozen=True, slots=True)
class Missed:
    """So many messages are not kept any more."""

    count: int


class Output:
    """Of one build. Belongs to an event loop; `tell` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept: deque[Told] = deque()
        self._kept_bytes = 0
        self._gone = 0
        """Messages that were told before the first that is kept."""
        self._more: Broadcast[None] = Broadcast(1)
        self.has_ended = False

    def tell(self, message: Told) -> None:
        self._loop.call_soon_threadsafe(self._keep, message)

    def _keep(self, message: Told) -> None:
        self._kept.append(message)
        self._kept_bytes += _bytes(message)
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= _bytes(self._kept.popleft())
            self._gone += 1
        self._more.tell(None)

    def end(self) -> None:
        """After all that was told before."""
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self.has_ended = True
        self._more.tell(None)

    async def follow(self, *, wait: bool = True) -> AsyncGenerator[list[Told | Missed]]:
        """What is kept; and, if it is to wait, what comes until the build has ended."""
        place = 0
        while True:
            missed = max(0, self._gone - place)
            place += missed
            some = list(islice(self._kept, place - self._gone, None))
            place += len(some)
            if missed or some:
                yield [*([Missed(missed)] if missed else []), *some]
            elif self.has_ended or not wait:
                return
            else:
                await self._more.wait()


class Outputs:
    """By the numbers of the builds' jobs."""

    def __init__(self) -> None:
        self._all: dict[int, Output] = {}

    def get(self, job_id: int) -> Output:
        """Raises NotFoundError."""
        found = self._all.get(job_id)
        if found is None:
            raise NotFoundError(
                f"job {job_id} has no output: of builds that run, and of the last {_ENDED} that "
                "have ended, it is kept; see GET /v1/jobs?filter=name=build"
            )
        return found

    @contextmanager
    def kept(self, job_id: int, tell: Tell) -> Iterator[Tell]:
        """What is told in the body is kept, and told to `tell` as well."""
        output = self._all[job_id] = Output()

        def both(message: Told) -> None:
            output.tell(message)
            tell(message)

        try:
            yield both
        finally:
            output.end()
            ended = [number for number, one in self._all.items() if one.has_ended]
            for number in ended[: max(0, len(ended) - _ENDED + 1)]:
                del self._all[number]


def _bytes(message: Told) -> int:
    return _BESIDE_BYTES + (len(message.text) if isinstance(message, StepOutput) else 0)
