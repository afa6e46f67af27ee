"""Helpers that are started and then told nothing end without a word."""

import subprocess

import pytest

from cgagent import bare


@pytest.mark.parametrize("name", ["mapped", "populate"])
def test_one_that_is_given_up_says_nothing(name):
    done = subprocess.run(
        bare.command(f"cgagent.runtime.helpers.{name}", "0"),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
