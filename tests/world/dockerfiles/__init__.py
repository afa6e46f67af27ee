"""Dockerfiles as people write them, on bases that need no network, and what comes of each.

What Debian 13's buildah makes of them is in ``buildah.json``; see `tests.world.buildahs`.
"""

from __future__ import annotations

from tests.world.dockerfiles.case import Case
from tests.world.dockerfiles.language import LANGUAGE
from tests.world.dockerfiles.services import SERVICES

CASES = (*SERVICES, *LANGUAGE)

__all__ = ["CASES", "Case"]
