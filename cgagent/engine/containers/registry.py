"""The set of containers: looked up by name or id, and kept in the database.

A change that is an event, too, is kept and told together with it: `action` is Docker's word.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine.containers.container import Container, Record
from cgagent.engine.events import about
from cgagent.errors import CgagentError, ConflictError, NotFoundError
from cgagent.images.removal import User
from cgagent.store.containers import ContainerRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.engine.events import Event, Events
    from cgagent.store.containers import ContainerRows


log = logging.getLogger(__name__)


class Containers:
    def __init__(self, rows: ContainerRows, events: Events) -> None:
        self._rows = rows
        self._events = events
        self._by_id: dict[str, Container] = {}

    def load(self) -> None:
        """Read them all, at the agent's start."""
        for row in self._rows.all():
            self._by_id[row.id] = Container(_record(row))
        self._rows.complete()

    def recover(self) -> list[Container]:
        """Those that are on disk and that the database has lost, kept again."""
        return [self.add(self._with_free_name(_record(row))) for row in self._rows.lost()]

    def is_damaged(self, container_id: str) -> bool:
        """Has a directory a record that cannot be understood?"""
        return self._rows.is_damaged(container_id)

    def _with_free_name(self, record: Record) -> Record:
        if not self.name_taken(record.name):
            return record
        return replace(record, name=f"{record.name}-{record.id[:12]}")

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, container_id: str) -> Container | None:
        """By full id."""
        return self._by_id.get(container_id)

    def find(self, reference: str) -> Container:
        """By name, id, or unique beginning of an id, in this order.

        Raises:
            NotFoundError: none.
            ConflictError: several ids begin so.
        """
        exact = self._by_id.get(reference)
        if exact is not None:
            return exact
        named = [c for c in self._by_id.values() if c.name == reference]
        if named:
            return named[0]
        matching = [c for i, c in self._by_id.items() if reference and i.startswith(reference)]
        if not matching:
            raise NotFoundError(
                f"container {reference!r} does not exist; see cgagent ps --all for those that do"
            )
        if len(matching) > 1:
            raise ConflictError(f"{len(matching)} container ids begin with {reference!r}")
        return matching[0]

    def name_taken(self, name: str) -> bool:
        return any(c.name == name for c in self._by_id.values())

    def add(self, record: Record, action: str | None = None) -> Container:
        """Keep a new one.

        Raises:
            ConflictError: the name is taken.
        """
        event = _event(record, action, {})
        container = Container(record)
        self._rows.insert(_row(container, record), event)
        self._by_id[record.id] = container
        self._tell(container, event)
        return container

    def save(
        self, container: Container, record: Record, action: str | None = None, **attributes: str
    ) -> None:
        """Replace a container's record, in the database first, and tell who waits."""
        event = _event(record, action, attributes)
        self._rows.update(_row(container, record), event)
        container.record = record
        self._tell(container, event)

    def note(
        self, container: Container, record: Record, action: str | None = None, **attributes: str
    ) -> None:
        """As `save`, of what has happened anyway: a full disk must not make us blind to it."""
        event = _event(record, action, attributes)
        try:
            self._rows.update(_row(container, record), event)
        except CgagentError as e:
            log.error("container %s: its state is only in memory: %s", record.name, e.message)  # noqa: TRY400
        container.record = record
        self._tell(container, event)

    def rename(self, container: Container, name: str) -> None:
        """Raises ConflictError: the name is taken."""
        record = replace(container.record, name=name)
        event = about(record, "rename", {"old_name": container.name})
        self._rows.rename(_row(container, record), event)
        container.record = record
        self._tell(container, event)

    def drop(self, container: Container, last: Record, *told: tuple[str, dict[str, str]]) -> None:
        """Keep it no more. `last` is what whoever waits for it sees; `told`: actions of events."""
        events = [about(last, action, attributes) for action, attributes in told]
        self._rows.delete(container.id, *events)
        del self._by_id[container.id]
        container.record = last
        container.removed = True
        self._tell(container, *events)

    def _tell(self, container: Container, *events: Event | None) -> None:
        container.notify()
        for event in filter(None, events):
            self._events.spread(event)

    def using_image(self, image_id: str) -> list[User]:
        """The containers made from an image."""
        users = (c for c in self._by_id.values() if c.record.image_id == image_id)
        return [User(c.name, running=c.up) for c in users]


def _row(container: Container, record: Record) -> ContainerRow:
    return ContainerRow(
        id=record.id,
        name=record.name,
        image_id=record.image_id,
        created_ns=record.created_ns,
        document=container.document(record),
    )


def _record(row: ContainerRow) -> Record:
    return Record.from_document(
        id_=row.id,
        name=row.name,
        image_id=row.image_id,
        created_ns=row.created_ns,
        document=row.document,
    )


def _event(record: Record, action: str | None, attributes: dict[str, str]) -> Event | None:
    return None if action is None else about(record, action, attributes)
