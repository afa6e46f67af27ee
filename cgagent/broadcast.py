"""Values that many wait for, told to a few of them in each turn of the event loop.

Thousands that were woken at once would keep the loop busy for as long as all of them take; here
whoever else is ready comes between them. What was told is kept once for all, up to a number: a
listener has a place in it and no queue of its own, so one that does not listen costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

_AT_ONCE: Final = 16
"""Listeners that are woken in one turn: 2 ms of the loop's time, if each sends something."""


class BehindError(Exception):
    """A listener wants what is not kept any more: it has missed so many."""

    def __init__(self, missed: int) -> None:
        super().__init__(missed)
        self.missed = missed


class Broadcast(Generic[T]):
    """The last `kept` values; belongs to one event loop."""

    def __init__(self, kept: int) -> None:
        self._values: deque[T] = deque(maxlen=kept)
        self._told = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._to_wake: deque[asyncio.Future[None]] = deque()
        self._listeners: dict[Listener[T], None] = {}

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def tell(self, value: T) -> None:
        self._values.append(value)
        self._told += 1
        is_waking = bool(self._to_wake)
        self._to_wake.extend(self._waiting)
        self._waiting.clear()
        if self._to_wake and not is_waking:
            self._wake()
        if self._told % ((self._values.maxlen or 1) // 4 + 1) == 0:
            self._look_for_laggards()

    def _wake(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._to_wake))):
            waiting = self._to_wake.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if self._to_wake:  # in a context of its own: urgent work that tells has none to wait for
            asyncio.get_running_loop().call_soon(self._wake, context=Context())

    def _look_for_laggards(self) -> None:
        """Those that have missed something are told now: they may never ask again by themselves."""
        first = self._told - len(self._values)
        for one in [one for one in self._listeners if one.place < first]:
            one.cut(first - one.place)

    def listen(self, on_behind: Callable[[int], None] | None = None) -> Listener[T]:
        """A listener to what is told from now on, for a ``with``.

        `on_behind` is called once when it has missed something, with how much that is, wherever the
        listener's owner is then.
        """
        return Listener(self, on_behind)

    # -- for listeners ----------------------------------------------------------------------

    @property
    def told(self) -> int:
        """How many values so far."""
        return self._told

    def since(self, place: int) -> list[T]:
        """All from the number `place` on. Raises BehindError: not all of them are kept."""
        first = self._told - len(self._values)
        if place < first:
            raise BehindError(first - place)
        return list(islice(self._values, place - first, None))

    async def wait(self) -> None:
        """Until there is another value, and it is this one's turn."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = None
        try:
            await waiting
        finally:
            self._waiting.pop(waiting, None)

    def add(self, one: Listener[T]) -> None:
        self._listeners[one] = None

    def remove(self, one: Listener[T]) -> None:
        self._listeners.pop(one, None)


class Listener(Generic[T]):
    """A place in what is told."""

    def __init__(self, of: Broadcast[T], on_behind: Callable[[int], None] | None) -> None:
        self._of = of
        self._on_behind = on_behind
        self.place = of.told
        self.has_ended = False
        """It has missed something: it is told nothing more."""

    def __enter__(self) -> Self:
        self._of.add(self)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._of.remove(self)

    def cut(self, missed: int) -> None:
        self.has_ended = True
        on_behind, self._on_behind = self._on_behind, None
        if on_behind is not None:
            on_behind(missed)

    async def next(self) -> list[T]:
        """All values since the last call, at least one; waits for it.

        Raises:
            BehindError: some of them are not kept any more.
        """
        while self.place == self._of.told:
            await self._of.wait()
        try:
            found = self._of.since(self.place)
        except BehindError as e:
            self.cut(e.missed)
            raise
        self.place = self._of.told
        return found

    async def latest(self) -> T:
        """The last value, once it is one that this listener has not had; others are skipped."""
        while self.place == self._of.told:
            await self._of.wait()
        self.place = self._of.told
        return self._of.since(self.place - 1)[0]
