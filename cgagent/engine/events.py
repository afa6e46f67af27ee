"""What happened, as a stream: the recent past and whatever comes.

Kept in memory, the last `KEPT` of them; an agent that restarts begins anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.engine.container import Container

KEPT: Final = 1024
_SUBSCRIBER_QUEUE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`type` is ``container`` or ``image``; `action` is Docker's word where it has one."""

    time_ns: int
    type: str
    action: str
    id: str
    attributes: dict[str, str] = field(default_factory=dict)


class Events:
    def __init__(self) -> None:
        self._recent: deque[Event] = deque(maxlen=KEPT)
        self._subscribers: set[asyncio.Queue[Event]] = set()
        self.dropped = 0
        """Events that a subscriber did not take in time."""

    def publish(
        self, type_: str, action: str, id_: str, attributes: dict[str, str] | None = None
    ) -> None:
        event = Event(
            time_ns=time.time_ns(), type=type_, action=action, id=id_, attributes=attributes or {}
        )
        self._recent.append(event)
        for queue in self._subscribers:
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self.dropped += 1

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Of a container, with what docker's events say of it: labels, image and name."""
        options = container.record.options
        about = {**options.labels, "image": options.image, "name": container.name}
        self.publish("container", action, container.id, {**about, **attributes})

    def recent(self, since_ns: int = 0) -> list[Event]:
        return [e for e in self._recent if e.time_ns >= since_ns]

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[Event]]:
        """A queue that gets every event from now on, until the context ends."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_SUBSCRIBER_QUEUE)
        self._subscribers.add(queue)
        try:
            yield queue
        finally:
            self._subscribers.discard(queue)
