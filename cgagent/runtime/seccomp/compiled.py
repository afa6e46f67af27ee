"""Compiled system call filters, one file for each distinct profile, kept for the agent's life."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cgagent.kernel import seccomp

if TYPE_CHECKING:
    from pathlib import Path


class Filters:
    """`directory` is emptied at the start: another libseccomp may compile otherwise."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._last: tuple[dict[str, Any], str] | None = None
        """Most containers have the same object: its digest takes longer than the rest."""
        directory.mkdir(mode=0o700, exist_ok=True)
        for stale in directory.iterdir():
            stale.unlink()

    def path(self, profile: dict[str, Any] | None) -> str | None:
        """The file with the program of an OCI seccomp object; None for no filter.

        Raises:
            InvalidInputError, UnsupportedError: it cannot be compiled.
        """
        if profile is None:
            return None
        if self._last is None or self._last[0] is not profile:
            self._last = profile, self._file(profile)
        return self._last[1]

    def _file(self, profile: dict[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()
        path = self._directory / f"{digest}.bpf"
        if not path.exists():
            program = seccomp.compile_filter(profile)
            new = path.with_suffix(".new")
            new.write_bytes(program)
            new.rename(path)
        return str(path)
