"""The integration tests of docker's own library for Python, but for swarm and plugins."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.world import dockers
from tests.world.agent import SLOWNESS

pytestmark = [pytest.mark.system, pytest.mark.native]

_LEFT_OUT = re.compile("swarm|service|plugin|secret|config_test|nodes|credentials|context")
"""Files about a swarm and plugins, and about files of the client's own."""
_VERSION = "1.45"
"""The version of the API that the library speaks by default."""
_FAIL = {
    # They make a swarm for a network.
    "test_create_inspect_network_with_scope": "swarm",
    "test_create_network_attachable": "swarm",
    "test_create_network_ingress": "swarm",
    # Docker of this version fails them, too.
    "test_commit": "looks for a field of images that version 1.45 has taken away",
    "test_commit_with_changes": "looks for a field of images that version 1.45 has taken away",
    "test_run_container_reading_socket_ws": "the library has no websockets over a unix socket",
    "test_create_with_links": "Docker 29 gives no variables of the environment for links",
    "test_exec_run_failed": "127 is the status of a command that is not there, not 126",
    # Not on a registry of the tests.
    "test_pull_with_sha": "a digest of Docker Hub",
}
_RACE = {
    "test_build_out_of_context_dockerfile",
    "test_build_in_context_dockerfile",
    "test_build_in_context_nested_dockerfile",
    "test_build_in_context_abs_dockerfile",
}
"""They read a log at once after the start, and do not wait for the container to write it."""


@pytest.mark.timeout(900)
def test_its_own_integration_tests(host, docker, tmp_path):
    library = dockers.python_library()
    docker("pull", "-q", "alpine:3.10")

    def outcomes(*chosen):
        done = subprocess.run(
            [
                *(library / "bin" / "python", "-m", "pytest", "-q", "-rA", "--timeout", "60"),
                *("-p", "no:cacheprovider", "--rootdir", library / "tests", "--tb=short"),
                *chosen,
            ],
            check=False,
            cwd=library,
            capture_output=True,
            text=True,
            timeout=800 * SLOWNESS,
            env={
                **os.environ,
                "DOCKER_HOST": host,
                "DOCKER_TEST_API_VERSION": os.environ.get("CGAGENT_TEST_DOCKER_API", _VERSION),
                "HOME": str(tmp_path),
                "TMPDIR": str(tmp_path),  # they leave files there
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        print(done.stdout)
        found = re.findall(r"^(PASSED|FAILED|ERROR) (\S+::\w+)", done.stdout, re.MULTILINE)
        return {test: word == "PASSED" for word, test in found}

    def name_of(test):
        return test.rpartition("::")[2]

    files = sorted(library.glob("tests/integration/*_test.py"))
    passed = outcomes(*(file for file in files if not _LEFT_OUT.search(file.name)))
    for _ in range(3):
        if again := [test for test, well in passed.items() if not well and name_of(test) in _RACE]:
            passed |= outcomes(*again)
    assert {name_of(test) for test, well in passed.items() if not well} == set(_FAIL)
    assert list(passed.values()).count(True) > 190
