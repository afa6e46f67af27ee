"""The API answers as its OpenAPI document says, whatever it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.relay import relayed

pytestmark = [pytest.mark.system, pytest.mark.native]

EXAMPLES = os.environ.get("CGAGENT_TEST_EXAMPLES", "5")
CHECKS = "not_a_server_error,status_code_conformance,unsupported_method"
ENDLESS = "events|/run$|attach|logs|stats|wait|pull|push|search|login|adopt|/v1/cgroups"
"""Streams, connections that are taken over, and what would reach out to the host's other groups."""


@pytest.mark.timeout(900)
def test_made_requests_get_documented_answers(own_agent):
    # a made reference may be the beginning of its id: a stop without a time limit must end
    own_agent.launch("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait", name="web")
    program = Path(sys.executable).with_name("schemathesis")
    with relayed(own_agent.socket) as address:
        done = subprocess.run(
            [
                *(program, "run", f"http://{address}/openapi.json", "--checks", CHECKS),
                *("--exclude-path-regex", ENDLESS, "--phases", "coverage,fuzzing"),
                *("--max-examples", EXAMPLES, "--seed", "1", "--request-timeout", "120"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=own_agent.data_root,
        )
    assert done.returncode == 0, done.stdout[-8000:]
    assert own_agent.answers()
