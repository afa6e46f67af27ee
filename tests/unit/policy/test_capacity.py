"""Whether one more fits, by made promises and made uses."""

import pytest

from cgagent.policy.advice.capacity import Claim, Scope, Used, fits, percentiles, room

MIB = 1 << 20
NOT_KNOWN = percentiles([], 0.0)


def used(most, p95=None, span_s=3600.0):
    return Used(now=most, p50=most, p95=most if p95 is None else p95, most=most, span_s=span_s)


def claim(asked, most=0.0):
    return Claim(asked=asked, held=asked, used=used(most))


def test_percentiles_count_a_row_for_as_long_as_it_held():
    rows = [(0.0, 1.0), (15.0, 2.0), (30.0, None), (90.0, 5.0), (91.0, 3.0)]
    found = percentiles(rows, 92.0)
    assert (found.now, found.p50, found.p95, found.most, found.span_s) == (3.0, 2.0, 2.0, 5.0, 92.0)
    assert NOT_KNOWN.most is None


def test_promises_and_those_who_made_none():
    one = room("memory", 1000 * MIB, used(300 * MIB), [claim(400 * MIB), claim(None, 100 * MIB)])
    assert (one.promised, one.held, one.limited, one.unlimited) == (500 * MIB, 400 * MIB, 1, 1)
    scope = Scope(path="/", rooms=(one,))
    found = {f.by: f for f in fits([scope], {"memory": 600 * MIB})}
    assert not found["promise"].fits
    assert found["promise"].says == (
        "500MiB of the 1000MiB of the host are promised to 2 containers, 1 of them without a limit "
        "and taken by the most they used: 600MiB more are 100MiB too much"
    )
    assert found["use"].fits
    assert found["use"].says == (
        "at most 300MiB of the 1000MiB of the host, of which 50MiB are kept free, were used within "
        "about an hour: 600MiB more leave 50MiB"
    )


def test_cpus_by_what_they_take_nearly_always():
    scope = Scope(path="/a", rooms=(room("cpus", 2.0, used(2.0, p95=0.5), [claim(1.5)]),))
    promise, use = fits([scope], {"cpus": 1.0})
    assert (promise.fits, use.fits) == (False, True)
    assert "1.00 CPUs more are 0.50 CPUs too much" in promise.says
    assert "of the 2.00 CPUs of cgroup /a were used" in use.says


@pytest.mark.parametrize("total", [None, 2.0])
def test_a_group_without_a_limit_refuses_nothing_and_what_is_not_known_does(total):
    scope = Scope(path="/a", rooms=(room("cpus", total, NOT_KNOWN, []),))
    found = fits([scope], {"cpus": 1.0, "memory": 1})
    assert [f.fits for f in found] == ([] if total is None else [True, False])
