"""What is given to a network's driver with ``--opt``, under docker's names and ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.engine.networks.spec import NetworkSpec

DOCKERS: Final = "com.docker.network."
MTU_NAMES: Final = {f"{DOCKERS}driver.mtu": "mtu", "mtu": "mtu"}
_MTU: Final = re.compile(r"[0-9]{1,5}")
_MTU_RANGE: Final = range(68, 65536)
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def named(spec: NetworkSpec, names: Mapping[str, str]) -> dict[str, str]:
    """The options of a network under our names; `names` has ours by all that there are.

    Raises:
        InvalidInputError: an option that is none of these, or a wrong MTU.
    """
    found = {}
    for name, value in spec.options.items():
        if name not in names:
            raise InvalidInputError(
                f"network option {name!r} is not known; known are {', '.join(names)}"
            )
        found[names[name]] = value
    mtu = found.get("mtu", "1500")
    if not _MTU.fullmatch(mtu) or int(mtu) not in _MTU_RANGE:
        raise InvalidInputError(f"network option mtu: {mtu!r} is not 68 to 65535")
    return found


def truth(text: str) -> bool:
    """Raises InvalidInputError: it is neither."""
    if text.lower() not in (*_TRUE, *_FALSE):
        raise InvalidInputError(f"network option: {text!r} is neither true nor false")
    return text.lower() in _TRUE
