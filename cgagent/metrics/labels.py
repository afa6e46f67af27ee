"""Which of a container's own labels its series have, and by what names.

All of them would be a label for each key that any image has; so they are chosen, as by cAdvisor's
``--whitelisted_container_labels``, and named as it names them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PREFIX: Final = "container_label_"
_NOT_OF_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


class ChosenLabels:
    """The keys, each with Prometheus' name for it.

    Raises:
        InvalidInputError: two keys have one name; series would show one of both.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        keys_by_name: dict[str, str] = {}
        for key in dict.fromkeys(keys):
            name = self._names[key] = _PREFIX + _NOT_OF_A_NAME.sub("_", key)
            other = keys_by_name.setdefault(name, key)
            if other != key:
                raise InvalidInputError(
                    f"metric labels {other!r} and {key!r} are both {name} in Prometheus; "
                    "leave one of them out"
                )

    def of(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Name and value of those that are there."""
        return tuple((name, labels[key]) for key, name in self._names.items() if key in labels)
