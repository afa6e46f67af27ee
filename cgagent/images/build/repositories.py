"""Git repositories as ADD names them: ``https://host/name.git#REF:DIRECTORY``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_GIT: Final = re.compile(r"(?:git@|git://|ssh://)[^ #]+|https?://[^ #]+\.git(?=#|$)", re.IGNORECASE)
_FETCHED: Final = ("git://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Repository:
    url: str
    ref: str = ""
    """A branch, a tag or a commit; empty: what the repository says."""
    directory: str = ""
    """Of it alone; empty: all of it."""

    @property
    def needs_key(self) -> bool:
        """Whether it is fetched over SSH."""
        return not self.url.lower().startswith(_FETCHED)


def parse(source: str) -> Repository | None:
    """None: it is none."""
    match = _GIT.match(source)
    if match is None or source[match.end() :][:1] not in {"", "#"}:
        return None
    ref, _, directory = source[match.end() + 1 :].partition(":")
    return Repository(match[0], ref, directory.strip("/"))
