"""Rulesets of the settings: a file, or a directory with ``*.toml``."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from cgagent.config import Settings
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> list[tuple[str, Any]]:
    """Each file's name and table, in the order of their names. The usual place may be missing.

    Raises:
        InvalidInputError: it is not there though it was asked for, or cannot be read.
    """
    if not path.exists() and path == Settings().policies:
        return []
    try:
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        return [(str(file), tomllib.loads(file.read_text())) for file in files]
    except (OSError, ValueError) as e:
        raise InvalidInputError(f"policies {path} cannot be read: {e}") from None
