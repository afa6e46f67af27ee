"""What every test may ask for: images, a registry that holds them, how slow this machine is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.world import guest, images, naming
from tests.world.registry import Registry, alpine_storage

if TYPE_CHECKING:
    from collections.abc import Iterator


# No assertion on time: the machine is shared.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def slowness() -> float:
    """Multiply every time-out by this: 1 natively, more in the guest."""
    return float(os.environ.get("CGAGENT_TEST_SLOWNESS", "1"))


@pytest.fixture(scope="session")
def alpine_docker_archive() -> Path:
    """alpine:latest and alpine:3.23 as ``docker save`` writes them."""
    return images.alpine_docker_archive()


@pytest.fixture(scope="session")
def alpine_oci_archive() -> Path:
    """alpine:latest as an OCI image layout in a tar."""
    return images.alpine_oci_archive()


@pytest.fixture(scope="session")
def busybox_docker_archive() -> Path:
    """busybox:latest, 2 MB, as ``docker save`` writes it."""
    return images.busybox_docker_archive()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry at `address`, without TLS, holding library/alpine: latest and 3.23."""
    with Registry(seed=alpine_storage()) as running:
        yield running


@pytest.fixture(scope="session")
def state_root() -> Iterator[Path]:
    """This run's folder on a disk that may hold overlay layers (in the guest only that one may)."""
    os.makedirs(guest.STATE_FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=naming.FOLDER_PREFIX, dir=guest.STATE_FOLDER) as folder:
        yield Path(folder)


@pytest.fixture
def data_root(state_root: Path) -> Iterator[Path]:
    """An empty folder in `state_root`, for one test."""
    with tempfile.TemporaryDirectory(dir=state_root) as folder:
        yield Path(folder)
