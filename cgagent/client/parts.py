"""What the parts of an agent's client have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from cgagent.client.answers import Progress
from cgagent.client.http import error_of
from cgagent.errors import UnavailableError

if TYPE_CHECKING:
    from cgagent.client.http import Client

Filters: TypeAlias = Mapping[str, "str | list[str]"]
"""Docker's names and values; of several values of one name any is enough."""
Tell: TypeAlias = Callable[[Progress], None]


def filters_of(filters: Filters | None) -> list[str]:
    """As the API takes them."""
    return [
        f"{name}={value}"
        for name, values in (filters or {}).items()
        for value in ([values] if isinstance(values, str) else values)
    ]


class Part:
    def __init__(self, client: Client) -> None:
        self._client = client


def keyed(key: str | None) -> tuple[str, ...]:
    """The header by which the agent knows a request again."""
    return () if key is None else (f"Idempotency-Key: {key}",)


def followed(messages: Iterator[Any], tell: Tell | None) -> Mapping[str, Any]:
    """The last message of long work; `tell` is called with each one before.

    Raises:
        CgagentError: how it failed.
    """
    for message in messages:
        if "error" in message:
            raise error_of(message["error"])
        if "progress" not in message:
            found: Mapping[str, Any] = message
            return found
        if tell is not None:
            tell(Progress.of(message["progress"]))
    raise UnavailableError("the agent ended the answer early; see its log")
