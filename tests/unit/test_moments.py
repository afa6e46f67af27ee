import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.moments import moment

S = 10**9


@given(seconds=st.integers(0, 10**10), nanoseconds=st.integers(0, S - 1))
def test_unix_seconds_with_a_fraction(seconds, nanoseconds):
    assert moment(f"{seconds}.{nanoseconds:09d}", "--since") == seconds * S + nanoseconds
    assert moment(str(seconds), "--since") == seconds * S


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("500ms", 0.5)]
)
def test_so_long_ago(text, seconds):
    assert abs(time.time_ns() - moment(text, "--since") - seconds * S) < S
    assert abs(moment("-" + text, "--since") - time.time_ns() - seconds * S) < S


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-11-24T12:00:00Z", 1795521600 * S),
        ("2026-11-24T12:00Z", 1795521600 * S),
        ("2026-11-24T13:00:00.25+01:00", 1795521600 * S + S // 4),
        ("2026-11-24T12:00:00.123456789Z", 1795521600 * S + 123456789),
    ],
)
def test_dates(text, ns):
    assert moment(text, "--since") == ns


def test_a_date_without_a_zone_is_local(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert moment("2026-11-24T14", "--since") == 1795521600 * S
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "lately", "1d", "2026-13-01", "12:00", "1.2.3s"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidInputError):
        moment(text, "--since")


def test_nothing_said_is_nothing():
    assert moment(None, "--since") is None
