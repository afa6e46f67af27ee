"""Archives that hypothesis makes. `tests/soak.py` tries more of them."""

import os
from contextlib import closing

import pytest

from tests.world import disks
from tests.world.imagefuzz import Fuzz

pytestmark = [pytest.mark.system, pytest.mark.native]

ROUNDS = int(os.environ.get("CGAGENT_TEST_IMAGE_ROUNDS", "200"))


@pytest.fixture
def fuzz(tmp_path):
    with disks.tmpfs(tmp_path / "fuzz") as folder, closing(Fuzz(folder)) as made:
        yield made
        assert made.outcomes.pop("without a text") == 0
        assert min(made.outcomes.values()) > 0
        print(made.outcomes)


def test_layers(fuzz):
    fuzz.layers(ROUNDS)


def test_documents(fuzz):
    fuzz.documents(ROUNDS)
