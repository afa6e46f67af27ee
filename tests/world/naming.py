"""Names that tell one run of the tests from another on the same machine at the same time."""

from __future__ import annotations

import os
import uuid
from typing import Final

RUN: Final = os.environ.setdefault("CGAGENT_TEST_RUN", uuid.uuid4().hex[:8])
"""The same in the processes that a run starts."""
_ANY_RUN: Final = "cgagent-test-"
CGROUP_PREFIX: Final = f"{_ANY_RUN}{RUN}-"


def cgroup_path() -> str:
    """Of a top-level group that is not there yet."""
    return f"/{CGROUP_PREFIX}{uuid.uuid4().hex[:12]}"


def is_another_runs(group: str) -> bool:
    """Whether a top-level group of this name was made by tests, but not in this run."""
    return group.startswith(_ANY_RUN) and not group.startswith(CGROUP_PREFIX)
