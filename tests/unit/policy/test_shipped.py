"""The rulesets in deploy/policies are ones, and do what they are there for."""

import tomllib
from pathlib import Path

import pytest

from cgagent.policy.rulesets.model import SEVERITY
from cgagent.policy.rulesets.parse import rulesets

DIRECTORY = Path(__file__).parents[3] / "deploy/policies"


def shipped(name):
    table = tomllib.loads((DIRECTORY / name).read_text())
    return {one.name: one for one in rulesets(table, name, "/cgagent")}


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.toml")), ids=lambda path: path.name)
def test_they_can_be_read_and_say_what_they_are_for(path):
    for one in shipped(path.name).values():
        assert one.description


def test_names_are_in_one_file_alone():
    names = [name for path in DIRECTORY.glob("*.toml") for name in shipped(path.name)]
    assert len(set(names)) == len(names)


def test_protection_never_ends_anything():
    for one in shipped("protect.toml").values():
        assert all(SEVERITY[grade.action] == 0 for grade in one.grades)
        if one.against is not None:
            assert one.against.beside.label == one.select.label


def test_the_protected_keep_to_what_their_neighbours_leave_unless_it_is_too_little():
    found = shipped("protect.toml")
    leave = next(g for g in found["protect-cpu"].grades if g.action == "cpuset")
    (keep,) = found["protect-place"].grades
    assert leave.options["leave"] == keep.options["keep"]
    assert keep.for_s
    assert keep.after_s > 1  # the first figures without it decide whether it is taken again
    assert keep.unless.bound > found["protect-place"].when.bound
    assert found["protect-place"].when == found["protect-cpu"].when


def test_defaults_of_the_others():
    pressure = shipped("systemd-oomd.toml")["systemd-oomd-pressure"]
    limit, reclaim = pressure.when.parts
    assert (limit.bound, limit.for_s, limit.options["kind"]) == (60.0, 30.0, "full")
    assert (reclaim.options["within"], pressure.cool_down_s) == (30.0, 15.0)
    assert pressure.select.cgroup == "/cgagent"
    full = shipped("systemd-oomd.toml")["systemd-oomd-swap"]
    assert [part.bound for part in full.when.parts] == [10.0, 10.0]
    assert (full.against.most, full.against.at_least_percent) == ("swap", 5.0)
    assert full.cool_down_s < pressure.cool_down_s
    swap = shipped("oomd.toml")["oomd-swap"]
    assert (swap.when.bound, swap.against.most) == (10.0, "swap")
