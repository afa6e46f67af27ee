"""The language of rulesets: what a table comes to, and how each mistake is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.policy.rulesets.figures import FIGURES
from cgagent.policy.rulesets.model import SEVERITY, Combined, Detector, Target
from cgagent.policy.rulesets.parse import rulesets

WHEN = {"detector": "pressure-above", "above": "60%", "for": "30s"}
KILL = {"action": "kill"}
RAISE = {"action": "raise", "limit": "pids-max", "by": "50%", "to": 200}
WHOLE = {"group": "team-*", "whole": True}


def one(**changes):
    table = {"name": "a", "when": WHEN, "grade": [KILL], **changes}
    return {"ruleset": [{key: value for key, value in table.items() if value is not None}]}


def parsed(**changes):
    (found,) = rulesets(one(**changes), "test", "/cgagent")
    return found


def test_a_ruleset_with_all_defaults():
    found = parsed()
    assert (found.name, found.owner) == ("a", "policy.a")
    assert found.select.name == "*"
    assert (found.cool_down_s, found.clear_for_s, found.dry_run) == (15, 30, False)
    assert found.when == Detector(
        figure="pressure_above",
        options={"resource": "memory", "kind": "full", "over": "10s"},
        bound=60.0,
        unit="percent",
        clear=60.0,
        for_s=30.0,
    )
    assert [grade.action for grade in found.grades] == ["kill"]


def test_a_hyphen_is_an_underscore_in_names():
    found = parsed(**{"cool-down": "1m", "clear_for": 5, "dry-run": True})
    assert (found.cool_down_s, found.clear_for_s, found.dry_run) == (60, 5, True)


@pytest.mark.parametrize(
    ("bound", "value", "unit"),
    [("64m", 64 << 20, "bytes"), ("90%", 90.0, "percent"), (4096, 4096.0, "bytes")],
)
def test_a_bound_has_one_of_the_figures_units(bound, value, unit):
    found = parsed(when={"detector": "memory-above", "above": bound}).when
    assert (found.bound, found.unit) == (value, unit)


def test_conditions_in_conditions():
    late = {"detector": "schedule", "during": "22:00-06:00", "days": "sat-mon"}
    found = parsed(when={"all": [WHEN, {"any": [late, WHEN], "for": "5s"}]}).when
    assert isinstance(found, Combined)
    inner = found.parts[1]
    assert (found.how, inner.how, inner.for_s) == ("all", "any", 5.0)
    assert inner.parts[0].options == {"during": (1320, 360), "days": (0, 5, 6)}


def test_the_agents_own_group_has_a_name():
    found = parsed(select={"cgroup": "{parent}/*"}, against={"cgroup": "/x/**", "most": "swap"})
    assert found.select.cgroup == "/cgagent/*"
    below = Target(kind="cgroup", id="/x/y/z", name="/x/y/z")
    assert found.against.select.fits(below)
    assert not found.against.select.fits(Target(kind="cgroup", id="/x", name="/x"))


def test_those_of_a_group():
    found = parsed(select={"group": "team-*", "label": "tier=front"}).select
    groups = ("team-a", "team-a/low")
    one = Target(kind="container", id="1", name="one", groups=groups, labels={"tier": "front"})
    assert found.fits(one)
    assert not found.fits(replace(one, groups=("other",)))
    assert not found.fits(replace(one, labels={}))
    assert not found.fits(Target(kind="cgroup", id="/team-a", name="/team-a"))


def test_whole_groups():
    found = parsed(select={**WHOLE, "label": "tier=front"}, grade=[RAISE, KILL]).select
    member = Target(kind="container", id="1", name="one", groups=("team-a",))
    group = Target(kind="group", id="team-a", name="team-a", path="/cgagent/team-a")
    labelled = replace(group, labels={"tier": "front"})
    fitting = {
        "labelled": found.fits(labelled),
        "member": found.fits(replace(member, labels={"tier": "front"})),
        "unlabelled": found.fits(group),
        "another": found.fits(replace(labelled, name="other")),
        "by path": parsed(select={"cgroup": "{parent}/team-a"}).select.fits(group),
        "by default": parsed().select.fits(group),
        "those in it": parsed(select={"group": "team-a"}).select.fits(group),
    }
    assert {name for name, fits in fitting.items() if fits} == {"labelled", "by path"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "a b"}, "name must be"),
        ({"when": None}, "must have a condition"),
        ({"when": {"detector": "moon"}}, "detector 'moon' is none of"),
        ({"when": {"detector": "pressure-above"}}, "must say above what"),
        ({"when": {**WHEN, "below": 3}}, "unknown 'below'"),
        ({"when": {**WHEN, "above": "600%"}}, "is not in 0..100"),
        ({"when": {**WHEN, "clear": "70%"}}, "clear must be on the other side"),
        ({"when": {**WHEN, "resource": "gpu"}}, "resource 'gpu' is none of"),
        ({"when": {**WHEN, "over": "1s"}}, "of kind some alone"),
        ({"when": {**WHEN, "for": "soon"}}, "is not a duration"),
        ({"when": {"all": [WHEN], "any": [WHEN]}}, "have all or any"),
        ({"when": {"all": []}}, "must be a list"),
        ({"when": {"detector": "schedule", "during": "8-9"}}, "is not a time of day"),
        ({"select": {}}, "of containers"),
        ({"select": {"name": "a", "host": True}}, "of containers"),
        ({"select": {"colour": "red"}}, "unknown 'colour'"),
        ({"select": {"host": True}}, "kill cannot be about the whole host"),
        ({"select": {"cgroup": "/a"}, "grade": [{"action": "restart"}]}, "for containers alone"),
        ({"select": {"cgroup": "/a"}, "grade": [RAISE]}, "for containers and whole groups alone"),
        ({"select": {"label": "a", "whole": True}}, "whole groups are selected by group"),
        ({"select": {"group": "a", "name": "b", "whole": True}}, "whole groups are selected by"),
        ({"select": {"group": "a", "whole": "b"}}, "whole must be true or false"),
        ({"select": WHOLE, "grade": [{"action": "restart"}]}, "restart is for containers alone"),
        ({"against": {**WHOLE, "prefer": {"label": "a"}}}, "prefer: it must be of whole groups"),
        ({"against": {"name": "*", "except": WHOLE}}, "except: it must be of containers, as"),
        ({"against": {"most": "evil"}}, "most 'evil' is none of"),
        ({"against": {"most": "cpu", "at-least": "5%"}}, "must be a number of cores"),
        ({"against": {"host": True}}, "about the whole host"),
        ({"grade": []}, "1 to 32"),
        ({"grade": [{"action": "shout"}]}, "action 'shout' is none of"),
        ({"grade": [KILL, {"action": "freeze", "for": "5s"}]}, "freeze is gentler than kill"),
        ({"grade": [{"action": "weight"}]}, "must have cpu or io"),
        ({"grade": [{"action": "weight", "cpu": 0}]}, "is not in 1..10000"),
        ({"grade": [{"action": "io-cap", "read": 0}]}, "is not in 1.."),
        ({"grade": [{"action": "cpuset", "leave": 0}]}, "is not a number of CPUs"),
        ({"grade": [{"action": "cpuset", "leave": 1.5}]}, "is not a number of CPUs"),
        ({"grade": [{"action": "cpuset", "keep": "0%"}]}, "0% is no CPU"),
        ({"grade": [{"action": "cpuset"}]}, "it must have leave or keep"),
        ({"grade": [{"action": "cpuset", "leave": 1, "keep": 1}]}, "and not both"),
        ({"grade": [{**KILL, "for": "5s"}]}, "for and unless are for what can be undone"),
        ({"grade": [{**KILL, "unless": WHEN}]}, "for and unless are for what can be undone"),
        ({"grade": [{**RAISE, "for": 0}]}, "for: it must be some time"),
        ({"grade": [{**RAISE, "unless": {"detector": "x"}}]}, "unless: detector 'x' is none of"),
        ({"grade": [{"action": "io-cap", "read": "9" * 400}]}, "is not in 0.."),
        ({"cool-down": 10**400}, "is not a duration"),
        ({"grade": [{"action": "freeze"}]}, "must have for"),
        ({"grade": [{"action": "freeze", "for": "2h"}]}, "lasts up to an hour"),
        ({"grade": [{"action": "raise", "limit": "cpus", "by": "10%"}]}, "limit and by and to"),
        ({"grade": [{"action": "webhook", "url": "file:///etc/passwd"}]}, "is not an address"),
        ({"grade": [{"action": "kill", "whom": "all"}]}, "unknown 'whom'"),
        ({"colour": "red"}, "unknown 'colour'"),
        ({"dry-run": "yes"}, "true or false"),
    ],
)
def test_a_mistake_is_told_with_its_place(changes, told):
    with pytest.raises(InvalidInputError, match=told) as error:
        parsed(**changes)
    assert error.value.message.startswith("test: ruleset ")


def test_the_least_that_a_victim_has_is_an_amount_or_a_part_of_what_the_host_has():
    amount, part = (
        parsed(against={"most": "swap", "at-least": least}).against for least in ("1m", "5%")
    )
    assert (amount.at_least, amount.at_least_percent) == (1 << 20, 0)
    assert (part.at_least, part.at_least_percent) == (0, 5)


def test_names_of_what_decides_without_a_ruleset():
    with pytest.raises(InvalidInputError, match="take another name"):
        parsed(name="auto-size")


def test_documents_that_are_none():
    for table in ({}, {"ruleset": {}}, {"rules": []}, [], None, {"ruleset": [3]}):
        with pytest.raises(InvalidInputError, match=r"^test"):
            rulesets(table, "test", "/cgagent")
    twice = {"ruleset": [*one()["ruleset"], *one()["ruleset"]]}
    with pytest.raises(InvalidInputError, match="two rulesets are called a"):
        rulesets(twice, "test", "/cgagent")


KEYS = st.sampled_from(
    [
        *("name", "select", "when", "against", "grade", "all", "any", "for", "detector", "above"),
        *("below", "clear", "action", "after", "cpu", "io", "by", "to", "limit", "during", "most"),
        *("resource", "cgroup", "host", "label", "cool-down", "except", "at-least", "amount"),
        *("leave", "keep", "unless"),
    ]
)
WORDS = st.sampled_from([*FIGURES, *SEVERITY, "10%", "5s", "64m", "memory", "*", "a=b", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(
    st.dictionaries(KEYS, JSON),
    st.fixed_dictionaries({"name": st.just("a"), "when": JSON, "grade": JSON}),
)
def test_whatever_it_is_it_is_a_ruleset_or_told_as_a_mistake(some, base):
    for table in ({"ruleset": [{**some, **base}]}, {"ruleset": [{**base, "when": WHEN, **some}]}):
        try:
            rulesets(table, "test", "/cgagent")
        except InvalidInputError as error:
            assert error.message.startswith("test")  # noqa: PT017
