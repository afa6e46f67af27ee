"""Whose a request of the control socket is, docker's API's or the native one's: its path says."""

from __future__ import annotations

import re
from typing import Final

_DOCKERS: Final = re.compile(
    r"/(v[0-9]+\.[0-9]+|_ping|version|info|events|auth|commit|build|session|grpc|containers|exec"
    r"|images|networks|volumes|system|distribution|plugins|swarm|nodes|services|tasks|secrets"
    r"|configs)(/|$)"
)
"""The native API's paths begin with ``/v1/``, ``/-/``, and what FastAPI and Prometheus have."""


def is_dockers(path: str) -> bool:
    return _DOCKERS.match(path) is not None
