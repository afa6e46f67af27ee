"""Which groups of a recorded tree a pattern finds, and what their series are called."""

import pytest

from cgagent.cgroups import Host
from cgagent.engine.observe.watched import GroupsAbove, WatchedGroups
from cgagent.errors import InvalidInputError
from cgagent.metrics import Target
from cgagent.watchlist import Watch

GROUPS = ("system.slice/a.service", "system.slice/b.scope", "pods/one/c1/deep", "own/0123")


@pytest.fixture
def host(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("35 24 0:30 / /cg rw - cgroup2 c rw\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    for group in GROUPS:
        (tmp_path / "cg" / group).mkdir(parents=True)
    (tmp_path / "cg/cgroup.controllers").write_text("cpu\n")
    return Host.detect(str(tmp_path))


def found(host, *rules):
    targets, gone = WatchedGroups(host, rules, "/own", 0.0).targets()
    assert gone == []
    return {target.cgroup_path: target for target in targets}


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        (Watch("system.slice/*.service"), {"/system.slice/a.service"}),
        (Watch("/pods/*"), {"/pods/one"}),
        (Watch("pods/**"), {"/pods", "/pods/one", "/pods/one/c1", "/pods/one/c1/deep"}),
        (Watch("pods/**", depth=1), {"/pods", "/pods/one"}),
        (Watch("pods/**/c*", depth=1), {"/pods/one/c1"}),
        (Watch("pods/**/c*", depth=0), set()),
        (Watch("own/*"), set()),
    ],
)
def test_patterns(host, rule, paths):
    assert set(found(host, rule)) == paths


def test_names_and_labels_of_the_first_that_matches(host):
    first = Watch("pods/*/*", "{parent}/{name}", (("tier.x", "pods"),))
    targets = found(host, first, Watch("pods/**"))
    assert targets["/pods/one/c1"].name == "one/c1"
    assert targets["/pods/one/c1"].labels == (("container_label_tier_x", "pods"),)
    assert (targets["/pods/one"].name, targets["/pods/one"].labels) == ("one", ())


def test_labels_of_one_name_are_refused(host):
    with pytest.raises(InvalidInputError, match="both container_label_a_b"):
        found(host, Watch("pods", labels=(("a.b", "1"), ("a-b", "2"))))


def test_what_has_gone_is_told_once(host, tmp_path):
    watched = WatchedGroups(host, (Watch("system.slice/*"),), "/own", 0.0)
    before, _ = watched.targets()
    (tmp_path / "cg/system.slice/b.scope").rmdir()
    after, gone = watched.targets()
    assert [t.cgroup_path for t in gone] == ["/system.slice/b.scope"]
    assert after == [t for t in before if t not in gone]
    assert after[0] is before[0]


def test_groups_above_what_is_sampled():
    """The agent's own and the root group always are; none is there twice, and no name is given."""
    above = GroupsAbove("/own/agent")
    one = Target("0123", "web", "", "/own/agent/0123", 1.0)
    watched = Target("cgroup:/pods/a", "a", "", "/pods/a", 0.0)
    deep = Target("cgroup:/pods/a/b/c", "c", "", "/pods/a/b/c", 0.0)
    targets, gone = above.targets([one, watched, deep])
    paths = [target.cgroup_path for target in targets]
    assert paths == ["/", "/own", "/own/agent", "/pods", "/pods/a/b"]
    assert all(target.is_above and target.name == target.image == "" for target in targets)
    assert gone == []
    targets, gone = above.targets([])
    assert [target.cgroup_path for target in targets] == ["/", "/own", "/own/agent"]
    assert [target.cgroup_path for target in gone] == ["/pods", "/pods/a/b"]
    targets, _ = above.targets([], ["/own/agent/team/low"])
    assert [t.cgroup_path for t in targets][-2:] == ["/own/agent/team", "/own/agent/team/low"]
