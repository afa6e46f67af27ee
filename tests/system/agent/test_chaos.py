"""Agent, supervisor and keeper are killed amid random operations; all is right afterwards."""

import os
import time

import pytest

from tests.world.agent import SLOWNESS
from tests.world.chaos import Chaos

pytestmark = pytest.mark.system

IN_GUEST = SLOWNESS > 1
OPERATIONS = int(os.environ.get("CGAGENT_TEST_OPERATIONS", "20" if IN_GUEST else "120"))


@pytest.mark.native
def test_whoever_dies_containers_and_records_are_right(own_agent):
    seed = int(os.environ.get("CGAGENT_TEST_SEED", time.time_ns()))
    print(f"CGAGENT_TEST_SEED={seed}")
    chaos = Chaos(own_agent, seed, containers=5 if IN_GUEST else 30)
    for _ in range(OPERATIONS):
        chaos.step()
    chaos.finish()
    print(chaos.deaths)
    assert min(chaos.deaths.values()) > 0 or IN_GUEST
