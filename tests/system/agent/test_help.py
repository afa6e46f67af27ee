"""The examples that ``--help`` shows do what they say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cgagent.cli.examples import all_in_order

pytestmark = [pytest.mark.system, pytest.mark.native]


def test_each_example_works(own_agent, tmp_path):
    """They build on each other; all run in one shell each, as they are typed."""
    agent = own_agent
    command = tmp_path / "bin" / "cgagent"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cgagent.cli.main "$@"\n')
    command.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "CGAGENT_HOST": f"unix://{agent.socket}",
    }
    folder = tmp_path / "here"
    folder.mkdir()
    assert agent.cli("network", "create", "app").returncode == 0
    agent.cli(
        "run",
        "-d",
        "--name",
        "web",
        "--init=false",
        "alpine",
        "sh",
        "-c",
        "trap : HUP; sleep 1000 & wait; sleep 1000",
    )
    for line in all_in_order():
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            check=False,
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
