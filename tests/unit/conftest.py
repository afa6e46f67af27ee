"""Tests that are coroutines run in asyncio."""

import pytest


@pytest.fixture
def anyio_backend():
    return "asyncio"
