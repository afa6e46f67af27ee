"""Who is acted on first: by figures, by marks, and as oomd and systemd-oomd have it."""

import pytest

from cgagent.cgroups import Cpu, Limits, Memory, Pids, Pressure, Usage
from cgagent.policy.facts import Facts, HostFacts, Trend
from cgagent.policy.rulesets.model import Against, Selector, Target
from cgagent.policy.rulesets.victims import ranked

ALL = Selector(name="*")


def target(name, mark="", **labels):
    return Target(kind="container", id=name, name=name, mark=mark, labels=labels)


def facts(memory, *, swap=None, average=None, scan=None, limits=None, host=None):
    usage = Usage(
        cpu=Cpu(),
        memory=Memory(current_bytes=memory, swap_bytes=swap),
        io=None,
        pids=Pids(),
        pressure=Pressure(),
        frozen=False,
    )
    trend = Trend()
    trend.average_bytes = average
    trend.pgscan = None if scan is None else (scan, 0.0)
    return Facts(at_s=0.0, host=host or HostFacts(), usage=usage, trend=trend, limits=limits)


def order(known, targets=None, **against):
    targets = targets or [target(name) for name in known]
    found = ranked(Against(select=ALL, **against), targets, lambda t: known[t.name])
    return [one.target.name for one in found]


def test_by_size():
    assert order({"a": facts(1), "b": facts(3), "c": facts(2)}) == ["b", "c", "a"]


def test_who_has_less_than_the_least_is_none():
    known = {"a": facts(1, swap=10), "b": facts(1, swap=4), "c": facts(1)}
    assert order(known, most="swap", at_least=5) == ["a"]


def test_the_least_may_be_a_part_of_what_the_host_has():
    host = HostFacts(memory_total_bytes=100, swap_total_bytes=200)
    known = {"a": facts(8, swap=9, host=host), "b": facts(7, swap=10, host=host)}
    assert order(known, most="swap", at_least_percent=5) == ["b"]
    assert order(known, most="memory", at_least_percent=8) == ["a"]


def test_marks_of_targets_and_of_the_ruleset():
    known = {name: facts(size) for name, size in {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}.items()}
    targets = [target("a", "prefer"), target("b", "avoid"), target("c", "omit")]
    targets += [target("d", tier="db"), target("e")]
    assert order(known, targets) == ["a", "e", "d", "b"]
    assert order(known, targets, avoid=Selector(name="a")) == ["e", "d", "b", "a"]
    assert order(known, targets, prefer=Selector(label="tier=d*")) == ["d", "a", "e", "b"]
    assert order(known, targets, beside=Selector(label="tier")) == ["a", "e", "b"]


@pytest.mark.parametrize(
    ("known", "first"),
    [
        # more than half of all: it goes, whoever grows
        ({"a": facts(60, average=60), "b": facts(40, average=10)}, "a"),
        # nobody has half: who grows among the largest fifth
        (
            {
                "a": facts(30, average=20),
                "b": facts(29, average=29),
                "c": facts(28, average=5),
                "d": facts(13, average=13),
            },
            "a",
        ),
        # nobody has half or grows: the largest that is not protected
        (
            {
                "a": facts(30, average=30, limits=Limits(memory_low_bytes=10)),
                "b": facts(29, average=29),
                "c": facts(28, average=28),
            },
            "b",
        ),
    ],
)
def test_as_oomd_by_size_or_growth(known, first):
    assert order(known, most="growth")[0] == first


def test_as_systemd_oomd_by_reclaim_and_then_by_size():
    known = {"a": facts(1, scan=5.0), "b": facts(9, scan=0.0), "c": facts(8, scan=0.0)}
    assert order(known, most="reclaim") == ["a", "b", "c"]
