"""Filters of one's own that allow nothing but exec and what the command itself needs."""

import json
import os

import pytest

from tests.world import tiny

pytestmark = [
    pytest.mark.system,
    pytest.mark.native,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is for x86-64"),
]

ACTIONS = ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]
WAYS = [(), ("--security-opt", "no-new-privileges"), ("-u", "1000"), ("-t",), ("--read-only",)]


@pytest.fixture(params=ACTIONS)
def flags(request, tmp_path):
    """With the filter, and both programs in the container."""
    tiny.write(tmp_path / "tiny", "seen\n")
    tiny.write(tmp_path / "waiting", "waiting\n", wait=True)
    (tmp_path / "profile.json").write_text(json.dumps(tiny.profile(request.param)))
    return [
        *("--security-opt", f"seccomp={tmp_path}/profile.json"),
        *("-v", f"{tmp_path}/tiny:/tiny", "-v", f"{tmp_path}/waiting:/waiting"),
    ]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_a_command_runs_under_a_filter_that_allows_what_it_needs(agent, flags, way):
    done = agent.cli("run", "--rm", *flags, *way, "alpine", "/tiny")
    assert (done.stderr, done.stdout.splitlines()) == ("", ["seen"])


def test_the_same_in_a_user_namespace(agent, flags):
    for way in WAYS[:3]:
        done = agent.cli("run", "--rm", "--userns", "auto", *flags, *way, "alpine", "/tiny")
        assert (done.stderr, done.stdout) == ("", "seen\n")


@pytest.mark.parametrize("way", WAYS[:3], ids=" ".join)
def test_a_command_is_executed_in_a_container_with_such_a_filter(agent, flags, way):
    container = agent.cli("run", "-d", *flags, *way, "alpine", "/waiting").stdout.strip()
    try:
        done = agent.cli("exec", container, "/tiny")
        assert (done.stderr, done.stdout) == ("", "seen\n")
    finally:
        agent.remove(container)


def test_a_command_that_is_not_there_is_told_whatever_the_filter_denies(agent, flags):
    done = agent.cli("run", "--rm", *flags, "alpine", "/nothing")
    assert "'/nothing': no such file" in done.stderr
    assert done.returncode == 127
