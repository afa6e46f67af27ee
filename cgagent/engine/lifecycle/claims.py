"""What those that are being made will have, which no other may be given meanwhile."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class Claims(Generic[T]):
    """Values that stand in no record yet: from their choice until their record is kept."""

    def __init__(self) -> None:
        self._held: Counter[T] = Counter()

    def __contains__(self, value: T) -> bool:
        return value in self._held

    def __iter__(self) -> Iterator[T]:
        return iter(self._held)

    @contextmanager
    def held(self, value: T) -> Iterator[None]:
        """Several may hold one that means none, as 0 does among ids."""
        self._held[value] += 1
        try:
            yield
        finally:
            self._held[value] -= 1
            if not self._held[value]:
                del self._held[value]
