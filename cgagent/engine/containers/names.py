"""Identifiers and names of containers."""

from __future__ import annotations

import re
import secrets
from typing import Final

from cgagent.errors import InvalidInputError

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")

_MAX_LENGTH: Final = 255
ID_LENGTH: Final = 64

_QUALITIES: Final = (
    *("amber", "bold", "brisk", "calm", "clear", "crisp", "deft", "early", "fair", "fleet"),
    *("frank", "glad", "keen", "kind", "light", "lucid", "mild", "neat", "noble", "plain"),
    *("prime", "quick", "quiet", "ready", "sharp", "sound", "spare", "stout", "swift", "trim"),
    *("true", "warm"),
)
_BIRDS: Final = (
    *("avocet", "bittern", "brant", "bunting", "crane", "curlew", "dipper", "dunlin", "egret"),
    *("eider", "falcon", "finch", "godwit", "grebe", "heron", "hobby", "ibis", "jay", "kestrel"),
    *("kite", "knot", "lark", "linnet", "martin", "merlin", "oriole", "osprey", "petrel", "plover"),
    *("rail", "siskin", "tern"),
)


def new_id() -> str:
    """64 hexadecimal digits, not all decimal in the first 12: those are a host name."""
    while True:
        value = secrets.token_hex(32)
        if not value[:12].isdecimal():
            return value


def random_name() -> str:
    return f"{secrets.choice(_QUALITIES)}_{secrets.choice(_BIRDS)}"


def check_name(name: str) -> str:
    """Docker's rule for container names.

    Raises:
        InvalidInputError: it does not hold.
    """
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise InvalidInputError(
            f"container name {name!r} is not valid: letters, digits and _ . - after a first "
            "letter or digit"
        )
    return name


def check_volume_name(name: str) -> str:
    """Docker's rule for names of volumes: at least two characters.

    Raises:
        InvalidInputError: it does not hold.
    """
    if len(name) == 1:
        raise InvalidInputError(
            f"volume name {name!r} is too short, names should be at least two alphanumeric "
            "characters"
        )
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise InvalidInputError(
            f"volume name {name[:80]!r} includes invalid characters: letters, digits and _ . - "
            "after a first letter or digit; for a directory of the host use its absolute path"
        )
    return name
