"""System tests leave the machine as they found it; that is checked once, after all of them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.world import forks, hosts
from tests.world.audit import Snapshot, difference
from tests.world.oci import Oci

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SETTLE_S = 3.0


def pytest_sessionstart() -> None:
    if "CGAGENT_TEST_MODE" not in os.environ:  # a guest is a machine of the tests' own
        hosts.leave_the_machines_network()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(
    slowness: float, state_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail when a cgroup, mount, namespace, process, link or file of the tests' remains."""
    folders = (tmp_path_factory.getbasetemp(),)
    before = Snapshot.take(folders, contents=(state_root,))
    yield
    forks.close()
    deadline = time.monotonic() + _SETTLE_S * slowness
    # The kernel takes namespaces and dying processes apart in its own time.
    while left := difference(before, Snapshot.take(folders, contents=(state_root,))):
        if time.monotonic() > deadline:
            pytest.fail("the system tests left behind:\n" + "\n".join(left), pytrace=False)
        time.sleep(0.1)


@pytest.fixture
def oci(data_root: Path, slowness: float) -> Iterator[Oci]:
    """`cgagent oci` below a folder of this test's."""
    runtime = Oci(data_root, slowness)
    yield runtime
    runtime.close()
