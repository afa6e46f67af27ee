"""Names that tell one run of the tests from another on the same machine at the same time."""

from __future__ import annotations

import os
import uuid
from typing import Final

RUN: Final = os.environ.setdefault("CGAGENT_TEST_RUN", uuid.uuid4().hex[:8])
"""The same in the processes that a run starts."""
CGROUP_PREFIX: Final = f"cgagent-test-{RUN}-"
FOLDER_PREFIX: Final = f"{RUN}-"
"""Temporary folders of this run begin with it, so that the audit knows what is mounted there."""


def cgroup_path() -> str:
    """Of a top-level group that is not there yet."""
    return f"/{CGROUP_PREFIX}{uuid.uuid4().hex[:12]}"
