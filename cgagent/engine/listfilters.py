"""Which networks and volumes a listing shows: docker's filters, each of which has to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.engine.filters import has_label
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.engine.volumes import Volume

    Values = Mapping[str, tuple[str, ...]]
    """By the filter's name."""

NETWORKS: Final = ("dangling", "driver", "id", "label", "name", "scope", "type")
VOLUMES: Final = ("dangling", "driver", "label", "name")
ALWAYS: Final = frozenset({"bridge", "host", "none"})
"""Networks that docker calls built in."""
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def check(filters: Values, known: Iterable[str]) -> None:
    """Raises InvalidInputError: there is no such filter, or it has a value that is none."""
    for name in filters:
        if name not in known:
            raise InvalidInputError(f"invalid filter '{name}'; there are {', '.join(known)}")
    flag(filters, "dangling")
    _kinds(filters)


def flag(filters: Values, name: str) -> bool | None:
    """None: not asked for. Raises InvalidInputError: it is no truth value."""
    values = filters.get(name, ())
    if not values:
        return None
    if len(values) != 1 or values[0] not in _TRUE | _FALSE:
        raise InvalidInputError(f"invalid filter '{name}={','.join(values)}'")
    return values[0] in _TRUE


def network_holds(
    filters: Values,
    *,
    network_id: str,
    name: str,
    driver: str,
    labels: Mapping[str, str],
    is_used: bool,
) -> bool:
    """Raises InvalidInputError: a filter has a value that is none."""
    dangling, kinds = flag(filters, "dangling"), _kinds(filters)
    kind = "builtin" if name in ALWAYS else "custom"
    return (
        (dangling is None or (dangling is not is_used and kind == "custom") is dangling)
        and (not kinds or kind in kinds)
        and _any(filters, "driver", lambda value: value == driver)
        and _any(filters, "scope", lambda value: value == "local")
        and _any(filters, "name", lambda value: value in name)
        and _any(filters, "id", network_id.startswith)
        and all(has_label(labels, wanted) for wanted in filters.get("label", ()))
    )


def _kinds(filters: Values) -> tuple[str, ...]:
    kinds = filters.get("type", ())
    if any(k not in {"builtin", "custom"} for k in kinds):
        raise InvalidInputError(f"invalid filter 'type={','.join(kinds)}'")
    return kinds


def volume_holds(filters: Values, volume: Volume) -> bool:
    """Raises InvalidInputError: a filter has a value that is none."""
    return (
        flag(filters, "dangling") in {None, not volume.users}
        and _any(filters, "driver", lambda value: value == "local")
        and _any(filters, "name", lambda value: value in volume.name)
        and all(has_label(volume.row.labels, wanted) for wanted in filters.get("label", ()))
    )


def _any(filters: Values, name: str, holds: Callable[[str], bool]) -> bool:
    values = filters.get(name, ())
    return not values or any(map(holds, values))
