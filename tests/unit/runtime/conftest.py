from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.world.keeper import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Holdings for objects of the supervisor, and the keeper's copy of them."""
    kept = Kept()
    yield kept
    kept.close()
