"""The course through the grades: delays, roll-back, and nothing harsh while the gentle works."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgagent.policy.rulesets.course import Course, Step, Take, Undo
from cgagent.policy.rulesets.model import LASTING, SEVERITY
from cgagent.policy.rulesets.parse import rulesets

OPTIONS = {
    "weight": {"cpu": 1},
    "freeze": {"for": "20s"},
    "io_cap": {"read": "1m"},
    "cpuset": {"leave": 1},
    "reclaim": {"amount": "10%"},
    "cpu_cap": {"cpus": 0.5},
    "raise": {"limit": "cpus", "by": "10%", "to": 2},
    "webhook": {"url": "http://localhost/"},
}


def ruleset(*grades, cool_down=15, clear_for=30, **more):
    table = {
        "name": "a",
        "when": {"detector": "pressure-above", "above": 50},
        "cool-down": cool_down,
        "clear-for": clear_for,
        **more,
        "grade": [
            {"action": action, "after": after, **OPTIONS.get(action, {})}
            for action, after in grades
        ],
    }
    (found,) = rulesets({"ruleset": [table]}, "test", "/cgagent")
    return found


def changed(rules, number, **fields):
    """The ruleset with another grade of that number."""
    grades = list(rules.grades)
    grades[number] = replace(grades[number], **fields)
    return replace(rules, grades=tuple(grades))


LADDER = (("weight", 0), ("freeze", 10), ("kill", 20))


def go(course, times, victims=("v",), holds=True, refused=()):
    """What is done at which second; each order is carried out at once."""
    found = []
    for now in times:
        order = course.next(float(now), holds, lambda: victims, refused)
        if order is not None:
            course.done(float(now))
            found.append((now, type(order).__name__, order.step.grade, order.step.victim))
    return found


def test_grades_one_after_the_other():
    course = Course(ruleset(*LADDER))
    assert go(course, range(32)) == [
        (0, "Take", 0, "v"),
        (10, "Take", 1, "v"),
        (30, "Take", 2, "v"),
    ]


def test_a_delay_begins_anew_when_the_condition_has_not_held():
    course = Course(ruleset(*LADDER))
    assert len(go(course, range(10))) == 1
    go(course, [10], holds=False)
    assert go(course, range(11, 25)) == [(21, "Take", 1, "v")]


def test_all_is_undone_step_by_step_the_last_first():
    course = Course(ruleset(*LADDER))
    go(course, range(11))
    assert go(course, range(11, 120), holds=False) == [
        (41, "Undo", 1, "v"),
        (71, "Undo", 0, "v"),
    ]
    assert course.is_at_rest
    assert go(course, range(120, 200))[0][:2] == (120, "Take")


def test_after_all_was_undone_there_is_a_pause():
    course = Course(ruleset(("weight", 0), cool_down=60, clear_for=5))
    go(course, [0])
    assert go(course, range(1, 8), holds=False) == [(6, "Undo", 0, "v")]
    assert course.is_at_rest
    assert go(course, range(8, 100)) == [(66, "Take", 0, "v")]


def test_pressure_that_comes_back_goes_on_where_it_was():
    course = Course(ruleset(*LADDER))
    go(course, range(11))
    assert go(course, range(11, 42), holds=False) == [(41, "Undo", 1, "v")]
    assert go(course, range(42, 60)) == [(52, "Take", 1, "v")]


def test_the_next_victim_begins_with_the_gentle_ones():
    course = Course(ruleset(("weight", 0), ("freeze", 10), cool_down=5))
    found = go(course, range(40), victims=("a", "b"))
    assert [(kind, grade, victim) for _, kind, grade, victim in found] == [
        ("Take", 0, "a"),
        ("Take", 1, "a"),
        ("Take", 0, "b"),
        ("Take", 1, "b"),
    ]


def test_what_is_for_a_time_is_undone_after_it_and_taken_again_where_the_condition_holds():
    rules = changed(ruleset(("weight", 4), ("io_cap", 3), cool_down=0), 0, for_s=20)
    course = Course(rules)
    assert go(course, range(30)) == [
        (4, "Take", 0, "v"),
        (7, "Take", 1, "v"),
        (24, "Undo", 0, "v"),
        (28, "Take", 0, "v"),
    ]
    assert go(course, range(30, 60), holds=False) == [(48, "Undo", 0, "v")]
    assert course.in_force == (Step(1, "v"),)


def test_what_was_taken_by_an_earlier_agent_has_its_time_from_then_on():
    rules = changed(ruleset(("weight", 0), cool_down=0), 0, for_s=20)
    course = Course(rules, [Step(0, "v")])
    assert go(course, range(100, 122)) == [(120, "Undo", 0, "v"), (121, "Take", 0, "v")]


def test_a_grade_that_is_refused_is_passed_over():
    course = Course(ruleset(("weight", 0), ("freeze", 10)))
    assert go(course, range(15), refused=(0,)) == [(10, "Take", 1, "v")]


@pytest.mark.parametrize("holds", [True, False])
def test_what_comes_to_be_refused_is_undone_until_all_is_quiet(holds):
    course = Course(ruleset(("weight", 0), cool_down=0, clear_for=5))
    go(course, range(3))
    assert go(course, [3], holds=holds, refused=(0,)) == [(3, "Undo", 0, "v")]
    assert go(course, range(4, 20)) == []
    assert go(course, range(20, 30), holds=False) == []
    assert go(course, [30]) == [(30, "Take", 0, "v")]


def test_what_cannot_be_undone_at_its_time_is_tried_again_after_a_while():
    course = Course(changed(ruleset(("weight", 0), clear_for=5), 0, for_s=8))
    go(course, range(8))
    assert course.next(8.0, True, lambda: ["v"]) == Undo(Step(0, "v"), "time")
    course.impossible(8.0)
    assert go(course, range(9, 14)) == [(13, "Undo", 0, "v")]


def test_who_is_ended_twice_has_its_time_again():
    course = Course(ruleset(("weight", 0), ("kill", 10), cool_down=15))
    assert go(course, range(30)) == [
        (0, "Take", 0, "v"),
        (10, "Take", 1, "v"),
        (25, "Take", 1, "v"),  # after the cool-down; its weight is down all the time
    ]


def test_what_its_user_wanted_otherwise_is_not_done_again_before_all_is_quiet():
    course = Course(ruleset(("weight", 0), ("freeze", 10), cool_down=0, clear_for=5))
    go(course, range(2))
    course.given_up(Step(0, "v"))
    assert course.in_force == ()
    found = go(course, range(2, 200))
    assert [grade for _, _, grade, _ in found] == [1]
    go(course, range(200, 220), holds=False)
    assert course.is_at_rest
    assert go(course, [230])[0][2] == 0


def test_what_is_impossible_has_its_time_all_the_same():
    course = Course(ruleset(*LADDER))
    assert course.next(0.0, holds=True, victims=lambda: ["v"]) == Take(Step(0, "v"))
    course.impossible(0.0)
    assert go(course, range(1, 31)) == [(10, "Take", 1, "v"), (30, "Take", 2, "v")]


def test_nothing_is_ordered_twice():
    course = Course(ruleset(*LADDER))
    assert course.next(0.0, holds=True, victims=lambda: ["v"]) is not None
    assert course.next(1.0, holds=True, victims=lambda: ["v"]) is None
    assert not course.is_at_rest


def test_a_new_agent_goes_on_with_what_is_in_force():
    course = Course(ruleset(*LADDER), [Step(0, "v")])
    assert go(course, range(12))[0] == (10, "Take", 1, "v")
    course = Course(ruleset(*LADDER), [Step(0, "v")])
    assert go(course, range(31), holds=False) == [(30, "Undo", 0, "v")]


def test_nobody_to_act_on():
    course = Course(ruleset(*LADDER))
    assert go(course, range(50), victims=()) == []


def test_who_has_gone_makes_room_for_another():
    course = Course(ruleset(*LADDER))
    go(course, [0], victims=("a",))
    course.gone("a")
    assert go(course, range(1, 12), victims=("b",)) == [(1, "Take", 0, "b"), (11, "Take", 1, "b")]


ACTIONS = st.lists(
    st.tuples(st.sampled_from(list(SEVERITY)), st.integers(0, 20)), min_size=1, max_size=5
).map(lambda grades: sorted(grades, key=lambda one: SEVERITY[one[0]]))
MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 15),  # seconds that pass
        st.sampled_from([True, True, True, False, None]),
        st.sampled_from(["done", "done", "done", "impossible"]),
        st.sampled_from(["", "", "", "given_up", "over", "gone"]),
    ),
    min_size=1,
    max_size=120,
)


class Checked:
    """A course that is carried out, and each of its orders held against what it may be."""

    def __init__(self, rules):
        self.rules, self.course = rules, Course(rules)
        self.held_since, self.moved, self.in_force = None, 0.0, []
        self.had = {"a": set(), "b": set()}

    def look(self, now, holds, outcome="done"):
        if not holds:
            self.held_since = None
        elif self.held_since is None:
            self.held_since = now
        order = self.course.next(float(now), holds, lambda: ("a", "b"))
        if order is None:
            return
        (self.check_take if isinstance(order, Take) else self.check_undo)(order.step, now, holds)
        self.moved = float(now)
        getattr(self.course, outcome)(float(now))
        if outcome == "done":
            self.note(order)

    def check_take(self, step, now, holds):
        assert holds, "something was done while the condition did not hold"
        assert now - max(self.held_since, self.moved) >= self.rules.grades[step.grade].after_s
        gentler = set(range(step.grade))
        assert gentler <= self.had[step.victim], "a gentler grade was left out"
        action = self.rules.grades[step.grade].action
        assert step not in self.in_force or action == "raise"
        self.had[step.victim].add(step.grade)

    def check_undo(self, step, _now, holds):
        assert not holds
        assert step == self.in_force[-1], "the last comes first"

    def note(self, order):
        if isinstance(order, Undo):
            self.in_force.remove(order.step)
            self.had[order.step.victim].discard(order.step.grade)
        elif (
            self.rules.grades[order.step.grade].action in LASTING
            and order.step not in self.in_force
        ):
            self.in_force.append(order.step)

    def meanwhile(self, what):
        if what == "gone":
            self.course.gone(self.in_force[-1].victim)
        else:
            getattr(self.course, what)(self.in_force.pop())


@settings(max_examples=300, deadline=None)
@given(ACTIONS, MOMENTS, st.integers(0, 20), st.integers(0, 20))
def test_random_courses(grades, moments, cool_down, clear_for):
    """Nothing ends before each gentler grade has had its time, while the condition held."""
    checked = Checked(ruleset(*grades, cool_down=cool_down, clear_for=clear_for))
    now = 0
    for passed, holds, outcome, also in moments:
        now += passed
        checked.look(now, holds, outcome)
        if also and checked.in_force:
            checked.meanwhile(also)
        assert list(checked.course.in_force) == checked.in_force
    for _ in range(2 * len(checked.in_force) + 1):  # when it is quiet for long all is undone
        now += clear_for + 1
        checked.look(now, holds=False)
    assert checked.course.in_force == ()


SPREAD = {"against": {"name": "*", "spread": True}}


def test_each_grade_of_all_before_the_next_of_any():
    rules = ruleset(("weight", 0), ("freeze", 10), cool_down=5, **SPREAD)
    course = Course(rules)
    victims = ["a", "b"]
    assert go(course, range(14), victims) == [
        (0, "Take", 0, "a"),
        (1, "Take", 0, "b"),
        (11, "Take", 1, "a"),
        (12, "Take", 1, "b"),
    ]
    assert go(course, range(14, 16), ["c", *victims]) == []  # the pause after the last grade
    assert go(course, range(16, 32), ["c", *victims]) == [
        (18, "Take", 0, "c"),
        (28, "Take", 1, "c"),
    ]
    assert go(course, range(40, 170), holds=False) == [
        (70, "Undo", 1, "c"),
        (100, "Undo", 0, "c"),
        (130, "Undo", 1, "b"),
        (131, "Undo", 1, "a"),
        (161, "Undo", 0, "b"),
        (162, "Undo", 0, "a"),
    ]
    assert course.is_at_rest


def test_what_cannot_be_undone_is_tried_again_after_a_while():
    course = Course(ruleset(("weight", 0), clear_for=10, **SPREAD))
    go(course, range(2), ["a", "b"])
    assert go(course, range(2, 13), holds=False) == [(12, "Undo", 0, "b")]
    assert course.next(13.0, False, list) == Undo(Step(0, "a"))
    course.impossible(13.0)
    assert go(course, range(14, 25), holds=False) == [(23, "Undo", 0, "a")]


def test_what_could_not_be_done_of_one_does_not_hold_up_the_others():
    course = Course(ruleset(("weight", 0), ("freeze", 10), **SPREAD))
    assert course.next(0.0, True, lambda: ["a", "b"]) == Take(Step(0, "a"))
    course.impossible(0.0)
    assert go(course, range(1, 12), ["a", "b"]) == [(1, "Take", 0, "b"), (11, "Take", 1, "a")]


def test_trouble_that_comes_back_as_soon_as_a_grade_is_undone_makes_it_wait_longer():
    course = Course(ruleset(("weight", 0), cool_down=0, clear_for=10))
    now, waited = 0, []
    for _ in range(8):  # it is quiet as long as the grade is in force, and only then
        ((began, *_),) = go(course, [now])
        ((undone, *_),) = go(course, range(began + 1, began + 1000), holds=False)[:1]
        waited.append(undone - began - 1)
        now = undone + 1
        course = course if course.is_at_rest else None
    assert waited == [10, 20, 40, 80, 160, 320, 320, 320]
    assert go(course, [now + 1000])  # after a long calm it is as at first
    assert go(course, range(now + 1001, now + 1020), holds=False)[0][0] == now + 1011
