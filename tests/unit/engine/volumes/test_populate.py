"""What a helper that fills volumes may say, or not say; the helper itself needs root."""

import asyncio
import errno
import json
import sys

import pytest

from cgagent import bare
from cgagent.engine.volumes import populate
from cgagent.errors import InternalError, NoSpaceError

pytestmark = pytest.mark.anyio


@pytest.fixture
def helper(monkeypatch):
    def says(text, status=0):
        program = f"import sys; sys.stdin.read(); print({text!r}, end=''); sys.exit({status})"
        monkeypatch.setattr(bare, "command", lambda *_: [sys.executable, "-c", program])

    return says


def run():
    return populate.run({"type": "overlay"}, "/staging", {"/data": "/fresh"})


async def test_what_was_filled_is_told(helper):
    helper(json.dumps({"filled": ["/fresh"]}))
    assert await run() == ["/fresh"]


@pytest.mark.parametrize(
    ("text", "status", "error", "message"),
    [
        ("", 3, InternalError, "its process died with status 3"),
        (json.dumps({"error": "x", "errno": errno.ENOSPC}), 0, NoSpaceError, "filling a volume"),
        (json.dumps({"error": "no mount", "errno": 1}), 0, InternalError, "no mount"),
    ],
)
async def test_a_failure_is_told(helper, text, status, error, message):
    helper(text, status)
    with pytest.raises(error, match=message):
        await run()


async def test_who_does_not_wait_ends_it(monkeypatch):
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(bare, "command", lambda *_: program)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run()
