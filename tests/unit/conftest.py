"""Tests that are coroutines run in asyncio, and time passes when a test says so."""

import time

import pytest


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def leap(monkeypatch):
    """Let so many seconds pass at once: ``leap(60)``, on all clocks and in the event loop.

    What waits for less of them is due then; a test need not be quicker than a time that runs out.
    """
    passed_s = [0.0]

    def pass_(seconds):
        passed_s[0] += seconds

    def ahead(plain, unit):
        return lambda: plain() + type(unit)(passed_s[0] * unit)

    for name in ("time", "monotonic"):
        monkeypatch.setattr(time, name, ahead(getattr(time, name), 1.0))
        monkeypatch.setattr(time, f"{name}_ns", ahead(getattr(time, f"{name}_ns"), 10**9))
    return pass_
