"""Requests made of Docker's own contract: none meets a defect, and nothing is left of them.

``CGAGENT_TEST_FUZZ=200`` makes so many of each operation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import dockerfuzz, swagger
from tests.world.agent import Agent
from tests.world.recorder import Recorder
from tests.world.relay import relayed
from tests.world.swagger import Contract

pytestmark = [pytest.mark.system, pytest.mark.native]

_EXAMPLES = os.environ.get("CGAGENT_TEST_FUZZ", "1")
_ENDLESS = "events|attach|logs|stats|wait|/exec/|/session|/grpc|/images/load"
_OUT_OF_THE_MACHINE = "/images/create|/images/search|/push|/distribution|/auth|/build$|/plugins"


@pytest.mark.timeout(1200)
def test_requests_made_of_the_contract(data_root, alpine_docker_archive):
    with Agent(data_root) as agent:
        agent.load(alpine_docker_archive)
        agent.launch("sleep", "100000", name=dockerfuzz.BOX)
        try:
            told, faults = _fuzzed(agent, data_root)
            assert told.returncode == 0, told.stdout[-8000:]
            assert not faults
            assert agent.answers()
            assert "Traceback" not in agent.log.read_text()
        finally:
            agent.remove_all()
            for network in agent.client.request("GET", "/v1/networks"):
                if network["name"] not in {"bridge", "host", "none"}:
                    agent.client.request("DELETE", f"/v1/networks/{network['id']}")


def _fuzzed(agent, folder):
    recorder = Recorder(Contract(), agent.socket)
    hooks = {"SCHEMATHESIS_HOOKS": dockerfuzz.__name__, "PYTHONPATH": os.getcwd()}
    with (
        recorder.listening(agent.socket.with_name("docker.sock")) as host,
        relayed(Path(host.removeprefix("unix://"))) as address,
    ):
        told = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", str(swagger.path())),
                *("--url", f"http://{address}/v{swagger.version()}", "--checks", "no_defect"),
                *("--exclude-path-regex", f"{_ENDLESS}|{_OUT_OF_THE_MACHINE}"),
                *("--phases", "fuzzing", "--max-examples", _EXAMPLES, "--seed", "1"),
                *("--request-timeout", "60", "--continue-on-failure"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, **hooks},
        )
    return told, recorder.faults
