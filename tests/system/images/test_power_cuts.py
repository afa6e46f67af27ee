"""The power is cut amid a pull; the next start repairs what is left. `tests/soak.py` does more."""

import os
import time

import pytest

from tests.world import powercuts
from tests.world.disks import NoFileSystemError
from tests.world.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.native]

CUTS = int(os.environ.get("CGAGENT_TEST_POWER_CUTS", "8"))


def test_the_store_repairs_itself_after_a_power_cut(tmp_path):
    seed = int(os.environ.get("CGAGENT_TEST_SEED", time.time_ns()))
    print(f"CGAGENT_TEST_SEED={seed}")
    try:
        with Registry() as registry:
            found = powercuts.cut(tmp_path, registry, CUTS, seed)
    except NoFileSystemError as e:
        pytest.skip(str(e))
    print(found)
    assert found["image"] + found["no image"] == CUTS
