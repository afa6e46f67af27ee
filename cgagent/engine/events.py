"""What happened, as a stream: the past, as far as it is kept, and whatever comes.

Each event is in the database before it is told: a killed agent loses none.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.broadcast import BehindError, Broadcast
from cgagent.errors import CgagentError, InvalidInputError
from cgagent.store.events import EventRow as Event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from cgagent.broadcast import Listener
    from cgagent.engine.containers.container import Container, Record
    from cgagent.store.events import EventRows

__all__ = ["Event", "EventQuery", "Events"]

log = logging.getLogger(__name__)

KEPT: Final = 10_000
_PRUNE_EVERY: Final = 500
_LIVE: Final = 4096
"""So many of the last are told to those who follow; who is further behind is cut off."""
_FAR_NS: Final = 2**62
_PAGE: Final = 64

_NAMED: Final = {
    "type": "type",
    "container": "id",
    "volume": "id",
    "network": "id",
    **dict.fromkeys(("group", "daemon", "plugin", "config", "node", "secret", "service"), "id"),
    "event": "action",
}
_IS_PLAIN: Final = re.compile(r"[\w.:/@-]+", re.ASCII)
_FILTERS: Final = (*_NAMED, "image", "label", "scope")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    since_ns: int = 0
    until_ns: int | None = None
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Docker's: of one name any value is enough, of several names each has to hold."""
    after: int = 0
    """Only those with a larger number."""

    @classmethod
    def parse(
        cls, since_ns: int, until_ns: int | None, filters: list[str], after: int = 0
    ) -> EventQuery:
        """`filters` as ``NAME=VALUE``. Raises InvalidInputError: of another form, or unknown."""
        found: dict[str, tuple[str, ...]] = {}
        for item in filters:
            name, separator, value = item.partition("=")
            if not separator or name not in _FILTERS:
                raise InvalidInputError(
                    f"filter {item!r} is not NAME=VALUE with a name of {', '.join(_FILTERS)}"
                )
            found[name] = (*found.get(name, ()), value)
        return cls(since_ns=since_ns, until_ns=until_ns, filters=found, after=after)

    @property
    def word(self) -> str:
        """What each event has in it that fits, where one object is asked for; "" fits all.

        The database finds it much faster than all events are read; what has to be escaped there
        is not looked for in this way.
        """
        for name, values in self.filters.items():
            if _NAMED.get(name) == "id" and len(values) == 1 and _IS_PLAIN.fullmatch(values[0]):
                return values[0]
        return ""

    def accepts(self, event: Event) -> bool:
        return all(
            any(_matches(event, name, value) for value in values)
            for name, values in self.filters.items()
        )


def _matches(event: Event, name: str, value: str) -> bool:
    if name == "event":  # "health_status" stands for "health_status: healthy", too
        return value in {event.action, event.action.partition(":")[0]}
    if name == "label":
        key, separator, wanted = value.partition("=")
        return event.attributes.get(key) == wanted if separator else key in event.attributes
    if name == "image":
        image = event.id if event.type == "image" else event.attributes.get("image", "")
        return value in {image, image.partition(":")[0], event.attributes.get("name")}
    if name == "scope":
        return value == "local"
    if name == "type":
        return event.type == value
    if name == "container" and event.type == "policy":
        return _is_decided_about(event, value)
    return event.type == name and _names(event, value)


def _is_decided_about(event: Event, reference: str) -> bool:
    """Whether a policy's decision is about that container; most are about something else."""
    id_ = event.attributes.get("container")
    return id_ is not None and _is_meant(reference, event.attributes.get("target"), id_)


def _names(event: Event, reference: str) -> bool:
    """By name, id, or the beginning of an id."""
    if event.type == "volume":
        return event.id == reference
    return _is_meant(reference, event.attributes.get("name"), event.id)


def _is_meant(reference: str, name: str | None, id_: str) -> bool:
    return name == reference or id_.startswith(reference)


class Events:
    def __init__(self, rows: EventRows) -> None:
        self._rows = rows
        self._live: Broadcast[Event] = Broadcast(_LIVE)
        self._until_pruned = 0
        self.last = rows.last()
        """The number of the last event that was told; all up to it are kept, but for old ones."""
        self.dropped = 0
        """Events that those who follow did not take in time."""
        self.cut_off = 0
        """How many of those who follow had to be hung up on for that."""

    @property
    def listeners(self) -> int:
        """How many follow."""
        return len(self._live)

    def publish(
        self, type_: str, action: str, id_: str, attributes: dict[str, str] | None = None
    ) -> None:
        """`type_` is ``container``, ``image`` and so on; `action` is Docker's word if any."""
        self._publish(_event(type_, action, id_, attributes or {}))

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Of a container, when nothing of its record changes with it."""
        self._publish(about(container.record, action, attributes))

    def _publish(self, event: Event) -> None:
        with self._despite_a_full_disk(event):
            self._rows.insert(event)
        self.spread(event)

    def spread(self, event: Event) -> None:
        """Tell whoever follows; it has been kept, with the change that it is about."""
        self.last = max(self.last, event.number)
        if self._until_pruned == 0:
            with self._despite_a_full_disk(event):
                self._rows.prune(KEPT)
                self._until_pruned = _PRUNE_EVERY
        self._until_pruned -= 1
        self._live.tell(event)

    @staticmethod
    @contextmanager
    def _despite_a_full_disk(event: Event) -> Iterator[None]:
        try:
            yield
        except CgagentError as e:
            log.error("event %s of %s is not kept: %s", event.action, event.id, e.message)  # noqa: TRY400

    def past(self, query: EventQuery) -> list[Event]:
        """What is kept."""
        return [event for page in self._pages(query, self._rows.last()) for event in page]

    def first(self, query: EventQuery, count: int) -> list[Event]:
        """So many of what is kept, at most."""
        found: list[Event] = []
        for page in self._pages(query, self._rows.last()):
            found += page
            if len(found) >= count:
                break
        return found[:count]

    def _pages(self, query: EventQuery, last: int) -> Iterator[list[Event]]:
        """Up to the `last` number, a few at a time: a client may take its time."""
        until_ns = _FAR_NS if query.until_ns is None else query.until_ns
        numbers = range(query.after + 1, last + 1)
        while page := self._rows.between(query.since_ns, until_ns, numbers, _PAGE, query.word):
            yield [event for event in page if query.accepts(event)]
            numbers = range(page[-1].number + 1, numbers.stop)

    async def stream(
        self, query: EventQuery, *, follow: bool, hang_up: Callable[[], None] | None = None
    ) -> AsyncGenerator[Event]:
        """The past, then with `follow` what comes, until the query's end if it has one.

        It ends as well for who does not take events as fast as they come: `hang_up` is called when
        that is so, even while the last one is still being sent.
        """

        def behind(missed: int) -> None:
            self.dropped += missed
            self.cut_off += 1
            if hang_up is not None:
                hang_up()

        with self._live.listen(behind) as listener:  # first: what comes meanwhile is not missed
            for page in self._pages(query, self._rows.last()):
                for event in page:
                    yield event
                await asyncio.sleep(0)  # others are heard, however many there are
            while follow:
                for event in await self._next(listener, query.until_ns):
                    if query.until_ns is not None and event.time_ns > query.until_ns:
                        return
                    if query.accepts(event):
                        yield event
                if listener.has_ended or _is_over(query.until_ns):
                    return

    @staticmethod
    async def _next(listener: Listener[Event], until_ns: int | None) -> list[Event]:
        """What has come since; nothing: there will be no more."""
        try:
            if until_ns is None:
                return await listener.next()
            async with asyncio.timeout(max(0.0, (until_ns - time.time_ns()) / 1e9)):
                return await listener.next()
        except (TimeoutError, BehindError):
            return []


def about(record: Record, action: str, attributes: dict[str, str]) -> Event:
    """Of a container, with what docker's events say of it: labels, image and name."""
    known = {**record.resolved.labels, "image": record.config.image, "name": record.name}
    return _event("container", action, record.id, {**known, **attributes})


def _event(type_: str, action: str, id_: str, attributes: dict[str, str]) -> Event:
    return Event(time_ns=time.time_ns(), type=type_, action=action, id=id_, attributes=attributes)


def _is_over(until_ns: int | None) -> bool:
    return until_ns is not None and time.time_ns() >= until_ns
