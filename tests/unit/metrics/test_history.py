"""What is kept of the past: bounded, in order, exact to a float32."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.metrics import history
from cgagent.metrics.history import COARSE_S, DEVICES, FINE_ROWS, History, IoRates, Row
from cgagent.metrics.rates import DeviceRates

WIDTH = len(Row._fields)
NOTHING = Row(*(None,) * WIDTH)


def row(value):
    return Row(*(value,) * WIDTH)


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


@given(
    st.lists(st.none() | st.floats(0, 1e15), min_size=len(Row._fields), max_size=len(Row._fields))
)
def test_a_row_comes_back(values):
    made = History(1000.0)
    made.add(1000.0, Row(*values))
    ((at_s, found),) = made.since(0)
    assert at_s == 1000.0
    assert list(found) == [None if v is None else float32(v) for v in values]


def test_samples_of_ten_minutes_then_averages():
    made = History(0.0)
    for second in range(3600):
        made.add(float(second), row(second))
    found = made.since(-1)
    times = [at_s for at_s, _ in found]
    assert times == sorted(set(times))
    assert times[-FINE_ROWS:] == list(range(3600 - FINE_ROWS, 3600))
    assert times[:3] == [COARSE_S, 2 * COARSE_S, 3 * COARSE_S]
    assert len(found) == FINE_ROWS + (3600 - FINE_ROWS) // COARSE_S - 1
    assert found[0][1].pids == pytest.approx(7)  # of 0 to 14
    assert made.since(3590.0) == found[-9:]
    for since_s in (-1, 100.0, 3590.0):
        kept = made.columns(since_s, ("pids", "cpu_cores"))
        rows = made.since(since_s)
        assert kept["at_s"] == [at_s for at_s, _ in rows]
        assert kept["pids"] == [row.pids for _, row in rows]
    assert History(0.0).columns(0.0, ("pids",)) == {"at_s": [], "pids": []}


def test_it_does_not_grow_beyond_its_bound():
    made = History(0.0)
    busy = {f"8:{n}": DeviceRates(1.0, 2.0) for n in range(DEVICES + 1)}
    for second in range(0, 8 * 3600, 5):
        made.add(float(second), NOTHING, busy)
    kept = sum(
        len(data) * data.itemsize
        for ring in (made._fine, made._coarse)
        for data in (ring._times, ring._values)
    )
    assert kept == history.MAX_BYTES
    assert made.since(-1)[0][0] >= 8 * 3600 - 6 * 3600 - 2 * COARSE_S


def test_a_gap_leaves_no_averages():
    made = History(0.0)
    made.add(0.0, row(1))
    made.add(1000.0, row(3))
    made.add(2000.0, row(5))
    assert [r.pids for _, r in made.since(-1)] == [1, 3, 5]


def test_any_clock_is_kept_as_it_is():
    """Set from 1970 on a board without a battery, or back by a day."""
    made = History(0.0)
    times = [0.0, 1.0, 1.8e9, 1.8e9 + 1, 1.8e9 - 86400, 1.8e9 - 86399, 1.8e9 - 86300]
    for at_s in times:
        made.add(at_s, row(1))
    assert list(made._fine.times()) == times
    assert [at_s for at_s, _ in made.since(1.8e9 - 1)] == [1.8e9, 1.8e9 + 1]
    assert len(made._slot) == 1


def test_devices_have_columns_from_their_first_use_on():
    made = History(0.0)
    idle, read = {"8:0": DeviceRates(0.0, 0.0)}, {"8:0": DeviceRates(10.0, 0.0)}
    both = {"8:0": DeviceRates(0.0, 4.0), "8:16": DeviceRates(0.0, 8.0)}
    for second, devices in enumerate((None, idle, read, both, {})):
        made.add(float(second), row(second), devices)
    past = made.past(0.5)
    assert [at_s for at_s, _ in past.rows] == [1, 2, 3, 4]
    unknown = IoRates(None, None)
    assert past.devices == {
        "8:0": [unknown, IoRates(10, 0), IoRates(0, 4), unknown],
        "8:16": [unknown, unknown, IoRates(0, 8), unknown],
    }
    made.add(COARSE_S + 1, row(9), both)
    for second in range(FINE_ROWS):
        made.add(100.0 + second, row(9), both)
    past = made.past(-1)
    assert [r.pids for _, r in past.rows][:2] == [2, 9]
    assert past.devices["8:0"][0] == IoRates(5, 2)  # of 10 and 0, 0 and 4
    assert len(past.devices["8:16"]) == len(past.rows)
