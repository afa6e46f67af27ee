"""``system doctor`` on a real kernel."""

import json

import pytest

from cgagent.cgroups import Host

pytestmark = pytest.mark.system


def test_it_tells_what_this_host_has(agent):
    shown = agent.cli("system", "doctor")
    assert shown.returncode == 0, shown.stdout
    assert shown.stdout.startswith("ABILITY")
    told = agent.cli("system", "doctor", "--format", "json")
    found = {one["name"]: one for one in map(json.loads, told.stdout.splitlines())}
    for name, place in Host.detect().placements.items():
        if f"controller {name}" in found:
            assert found[f"controller {name}"]["detail"] == f"cgroup v{place.version}"
    assert found["seccomp"]["there"]
    assert found["memory.high"]["there"] is (Host.detect().placements["memory"].version == 2)
    assert all(one["there"] or one["detail"] for one in found.values())
