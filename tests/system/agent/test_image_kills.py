"""The agent is killed amid pull, load and rmi. `tests/soak.py` does it longer."""

import os
import time

import pytest

from tests.world import imagekills

pytestmark = [pytest.mark.system, pytest.mark.native]

KILLS = int(os.environ.get("CGAGENT_TEST_IMAGE_KILLS", "5"))


def test_the_store_is_whole_whenever_the_agent_dies(own_agent, tmp_path):
    seed = int(os.environ.get("CGAGENT_TEST_SEED", time.time_ns()))
    print(f"CGAGENT_TEST_SEED={seed}")
    kills = imagekills.kill(own_agent, tmp_path, KILLS, seed)
    assert sum(kills.values()) == KILLS
