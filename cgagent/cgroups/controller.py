"""What each controller offers, on v1 and v2 alike.

A controller object is one group's directory in one hierarchy: made when it is needed, holding
nothing but the path. The two sides of a controller stand next to each other in its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.cgroups.changes import Write
    from cgagent.cgroups.limits import Limits

T_co = TypeVar("T_co", covariant=True)


class Limiter(Protocol):
    """A controller that takes limits."""

    FIELDS: ClassVar[frozenset[str]]
    """The fields of Limits that are this controller's."""

    def writes(self, limits: Limits) -> list[Write]:
        """What to write, in the kernel's order; reads what it must know of the present.

        Raises:
            UnsupportedError: a limit that this version of the controller does not have.
        """

    def held(self) -> Limits:
        """What the kernel holds, in FIELDS; None where it has no such file."""


class Meter(Protocol[T_co]):
    """A controller that accounts.

    Which files and what they say are two questions, so that a reader can keep descriptors and
    need not parse again what has not changed.
    """

    def paths(self) -> Sequence[str]:
        """The files it reads. They change only when groups below the group come or go."""

    def usage(self, texts: Sequence[str | None]) -> T_co:
        """A record of the files' texts, in the order of `paths`; None is a file not there."""
