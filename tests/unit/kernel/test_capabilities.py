"""What we hold is what the kernel shows of us."""

from __future__ import annotations

from pathlib import Path

from cgagent.kernel import capabilities


def test_our_own_set_is_the_one_that_proc_shows():
    lines = Path("/proc/self/status").read_text().splitlines()
    (shown,) = [line.split()[1] for line in lines if line.startswith("CapEff:")]
    assert capabilities.held_by_us() == int(shown, 16)
