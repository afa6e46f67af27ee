"""Whether conditions hold: bounds, hysteresis, durations, and what cannot be told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import Cpu, Limits, Memory, Pids, Pressure, Psi, Stall, Usage
from cgagent.metrics import Rates
from cgagent.policy.facts import Facts, HostFacts
from cgagent.policy.rulesets.conditions import Compiled
from cgagent.policy.rulesets.figures import FIGURES, MOST_NEEDS, MOST_UNITS, most
from cgagent.policy.rulesets.parse import rulesets


def compiled(when):
    table = {"name": "a", "when": when, "grade": [{"action": "kill"}]}
    (found,) = rulesets({"ruleset": [table]}, "test", "/cgagent")
    return Compiled(found.when)


def psi(some, full=None, minute=0.0):
    full = some if full is None else full
    return Psi(
        some=Stall(avg10=some, avg60=minute, avg300=0.0, total_ns=0),
        full=Stall(avg10=full, avg60=minute, avg300=0.0, total_ns=0),
    )


def facts(at_s=0.0, *, pressure=None, memory=None, host=None, pids=None, **known):
    usage = Usage(
        cpu=Cpu(),
        memory=Memory(current_bytes=memory),
        io=None,
        pids=Pids(current=pids),
        pressure=Pressure(memory=pressure),
        frozen=False,
    )
    return Facts(at_s=at_s, host=host or HostFacts(), usage=usage, **known)


def rates(**changes):
    names = (
        *("cpu_percent", "throttled_percent", "read_bytes_per_s", "write_bytes_per_s"),
        *("reads_per_s", "writes_per_s", "major_faults_per_s"),
    )
    values = {**dict.fromkeys(names, 0.0), **changes}
    return Rates(interval_s=1.0, stalled_percent={}, **values)


def test_it_holds_after_its_time_and_until_it_is_clear():
    condition = compiled({"detector": "pressure-above", "above": 60, "clear": 20, "for": "30s"})
    state = condition.fresh()
    told = [(0, 59), (1, 61), (20, 61), (31, 61), (40, 30), (41, 20), (42, 30), (80, 30)]
    answers = [condition.holds(facts(t, pressure=psi(p)), state) for t, p in told]
    assert answers == [False, False, False, True, True, False, False, False]


def test_what_cannot_be_told_is_said_and_begins_anew():
    condition = compiled({"detector": "pressure-above", "above": 60, "for": "10s"})
    state = condition.fresh()
    assert condition.holds(facts(0, pressure=psi(90)), state) is False
    assert condition.holds(facts(5), state) is None
    (finding,) = condition.findings(facts(5), state)
    assert finding.holds is None
    assert "memory full 10s pressure cannot be told: pressure is counted by cgroup2" in finding.text
    assert condition.holds(facts(12, pressure=psi(90)), state) is False
    assert condition.holds(facts(22, pressure=psi(90)), state) is True
    (finding,) = condition.findings(facts(22, pressure=psi(90)), state)
    assert finding.text == "memory full 10s pressure 90% (above 60%) for 10 s"


@given(st.lists(st.sampled_from([None, True, False]), min_size=1, max_size=5))
def test_all_and_any_of_what_may_not_be_known(answers):
    part = {True: 90.0, False: 0.0}
    psis = [None if a is None else psi(part[a]) for a in answers]
    resources = [("memory", "full"), ("memory", "some"), ("io", "full"), ("io", "some")]
    resources.append(("cpu", "some"))
    # each part looks at a figure of its own, so each can have its own answer
    known = {}
    parts = []
    for (resource, kind), one in zip(resources, psis, strict=False):
        figure = "minute" if kind == "some" else "now"
        if known.setdefault(resource, (one, figure))[0] is not one:
            continue
        parts.append(
            {"detector": "pressure-above", "resource": resource, "kind": kind, "above": 50}
        )
    wanted = [known[p["resource"]][0] for p in parts]
    found = facts()
    pressure = {resource: one for resource, (one, _) in known.items()}
    usage = Usage(
        cpu=found.usage.cpu,
        memory=found.usage.memory,
        io=None,
        pids=found.usage.pids,
        pressure=Pressure(**pressure),
        frozen=None,
    )
    found.usage = usage
    truths = [None if w is None else w.some.avg10 > 50 for w in wanted]
    every, some = compiled({"all": parts}), compiled({"any": parts})
    expected_all = False if False in truths else None if None in truths else True
    expected_any = True if True in truths else None if None in truths else False
    assert every.holds(found, every.fresh()) is expected_all
    assert some.holds(found, some.fresh()) is expected_any


@pytest.mark.parametrize(
    ("when", "known", "holds"),
    [
        ({"detector": "memory-above", "above": "1k"}, {"memory": 1025}, True),
        ({"detector": "memory-above", "above": "1k"}, {"memory": 1024}, False),
        (
            {"detector": "memory-above", "above": "50%"},
            {"memory": 60, "limits": Limits(memory_max_bytes=100), "host": HostFacts()},
            True,
        ),
        (
            {"detector": "memory-above", "above": "50%"},
            {"memory": 60, "host": HostFacts(memory_total_bytes=200)},
            False,
        ),
        ({"detector": "memory-above", "above": 1}, {}, None),
        (
            {"detector": "swap-free-below", "below": "10%"},
            {"host": HostFacts(swap_total_bytes=100, swap_free_bytes=9)},
            True,
        ),
        ({"detector": "swap-free-below", "below": "10%"}, {}, False),
        ({"detector": "pids-above", "above": "80%"}, {"pids": 9}, False),
        (
            {"detector": "pids-above", "above": "80%"},
            {"pids": 9, "limits": Limits(pids_max=10)},
            True,
        ),
        ({"detector": "cpu-above", "above": 1.5}, {"rates": rates(cpu_percent=160.0)}, True),
        ({"detector": "io-above", "above": "1m"}, {"rates": rates(read_bytes_per_s=2e6)}, True),
        ({"detector": "throttled-above", "above": 5}, {"rates": rates(throttled_percent=6)}, True),
        ({"detector": "budget-above", "above": 80}, {"budgets": {"cpu": 90.0, "io": 1.0}}, True),
        (
            {"detector": "budget-above", "resource": "io", "above": 80},
            {"budgets": {"cpu": 90.0, "io": 1.0}},
            False,
        ),
        ({"detector": "budget-above", "above": 80}, {}, False),
        ({"detector": "idle"}, {"rates": rates(cpu_percent=0.4)}, True),
        ({"detector": "idle"}, {"rates": rates(cpu_percent=0.6)}, False),
        ({"detector": "idle"}, {"rates": rates(write_bytes_per_s=1.0)}, False),
        (
            {"detector": "pressure-above", "kind": "some", "over": "1s", "above": 5},
            {"rates": replace(rates(), stalled_percent={"memory": 6.0})},
            True,
        ),
        (
            {"detector": "pressure-rising", "above": 50},
            {"pressure": psi(40, minute=60.0)},
            False,
        ),
        ({"detector": "pressure-rising", "above": 50}, {"pressure": psi(55, minute=60.0)}, True),
        ({"detector": "reclaiming"}, {}, None),
        ({"detector": "network-above", "above": "8k"}, {"rates": rates()}, None),
        ({"detector": "network-above", "above": "8k"}, {"has_network": True}, False),
        (
            {"detector": "network-above", "above": "8k"},
            {
                "has_network": True,
                "rates": replace(rates(), receive_bytes_per_s=999.0, transmit_bytes_per_s=2.0),
            },
            True,
        ),
        (
            {"detector": "idle"},
            {"has_network": True, "rates": replace(rates(), receive_bytes_per_s=1.0)},
            False,
        ),
        (
            {"detector": "schedule", "during": "22:00-06:00", "days": "mon"},
            {"host": HostFacts(minute_of_day=60, weekday=1)},
            True,
        ),
        (
            {"detector": "schedule", "during": "22:00-06:00", "days": "mon"},
            {"host": HostFacts(minute_of_day=60, weekday=0)},
            False,
        ),
        (
            {"detector": "schedule", "during": "08:00-17:00"},
            {"host": HostFacts(minute_of_day=480)},
            True,
        ),
        (
            {"detector": "schedule", "during": "00:00-00:00", "days": "tue"},
            {"host": HostFacts(minute_of_day=1439, weekday=1)},
            True,
        ),
        ({"detector": "idle"}, {}, False),
        ({"detector": "idle"}, {"rates": rates()}, True),
        (
            {"detector": "io-latency-above", "above": "20ms"},
            {"host": HostFacts(io_latency_ms=21.0)},
            True,
        ),
    ],
)
def test_figures(when, known, holds):
    condition = compiled(when)
    assert condition.holds(facts(**known), condition.fresh()) is holds


class Looked:
    """A value whose fields are noted as they are looked at."""

    def __init__(self, value, noted):
        self._value, self._noted = value, noted

    def __getattr__(self, name):
        self._noted.add(name)
        return getattr(self._value, name)


BESIDE = {"trend": "trend", "budgets": "budgets"}
BESIDE_OF_HOST = {"io_latency_ms": "io_latency", "cpu_list": "cpu_list"}


def looked_at(read):
    """What a figure looks at that is found out only where it is said to be needed."""
    noted, of_host = set(), set()
    host = Looked(HostFacts(), of_host)
    read(Looked(facts(host=host, rates=rates(), has_network=True), noted))
    names = [BESIDE.get(name) for name in noted] + [BESIDE_OF_HOST.get(name) for name in of_host]
    return {name for name in names if name}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_needs(name):
    figure = FIGURES[name]
    options = {
        **{option: words[0] for option, words in figure.choices.items()},
        **figure.seconds,
        "cpu": 0.5,
        "during": (0, 0),
        "days": (0,),
    }
    for unit in figure.units:
        assert looked_at(figure.read(options, unit)) == {figure.needs} - {None}


@pytest.mark.parametrize("name", MOST_UNITS)
def test_a_figure_of_victims_says_what_it_needs(name):
    assert looked_at(most(name)) == {MOST_NEEDS.get(name)} - {None}


def test_a_combination_lasts():
    condition = compiled({"any": [{"detector": "memory-above", "above": 10}], "for": "5s"})
    state = condition.fresh()
    told = [(0, 11), (4, 11), (5, 11), (6, 9), (7, 11), (11, 11), (12, 11)]
    answers = [condition.holds(facts(t, memory=m), state) for t, m in told]
    assert answers == [False, False, True, False, False, False, True]


def test_a_host_without_swap_has_none_that_could_run_out():
    condition = compiled({"detector": "swap-free-below", "below": "1g"})
    state = condition.fresh()
    assert condition.holds(facts(), state) is False
    (finding,) = condition.findings(facts(), state)
    assert finding.text == "free swap of the host is none at all (below 1GiB)"
