import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.units import parse_duration, parse_rate, parse_size, show_age, show_command, show_size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("10b", 10),
        ("256m", 256 * MIB),
        ("256M", 256 * MIB),
        ("256mb", 256 * MIB),
        ("256MiB", 256 * MIB),
        ("1.5g", 3 * GIB // 2),
        (" 1k ", KIB),
        ("2t", 2 << 40),
        ("1p", 1 << 50),
        (".5k", 512),
        ("0.5", 1),
    ],
)
def test_sizes(text, size):
    assert parse_size(text, "--memory") == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "lots",
        "-1",
        "1x",
        "1e3",
        "1_000",
        "1 000",
        "nan",
        "inf",
        "1.5.2",
        "ib",
        "0x10",
    ],
)
def test_sizes_that_are_none(text):
    with pytest.raises(InvalidInputError, match=r"--memory .* is not a size; write a number"):
        parse_size(text, "--memory")


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_an_error(text):
    with contextlib.suppress(InvalidInputError):
        assert parse_size(text, "x") >= 0


@given(st.integers(0, 2**50), st.sampled_from(["", "b", "k", "m", "g"]))
def test_whole_numbers_are_exact(number, unit):
    factor = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB}[unit]
    assert parse_size(f"{number}{unit}", "x") == number * factor


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), (64 * MIB, "64MiB")],
)
def test_sizes_shown(size, text):
    assert show_size(size) == text


@given(st.integers(0, 2**60))
def test_a_size_shown_can_be_read_and_is_near(size):
    assert parse_size(show_size(size), "x") == pytest.approx(size, rel=1e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "Less than a second"),
        (0.9, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (59 * 60 + 59, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (86400 * 13, "13 days"),
        (86400 * 14, "2 weeks"),
        (86400 * 60, "2 months"),
        (86400 * 730, "2 years"),
        (86400 * 365 * 40, "40 years"),
    ],
)
def test_ages(seconds, text):
    assert show_age(seconds) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), ""),
        (("sh", "-c", "echo 'a'; exec b"), "sh -c 'echo 'a'; exec b'"),
        (("/a b", "c"), "/a b c"),
    ],
)
def test_commands(words, text):
    assert show_command(words) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("0", 0), ("1.5s", 1.5), ("2m", 120), ("1h", 3600)]
)
def test_durations(text, seconds):
    assert parse_duration(text, "-t") == seconds


@pytest.mark.parametrize("text", ["", "s", "soon", "-1", "nan", "inf", "1d", "1e99"])
def test_durations_that_are_none(text):
    with pytest.raises(InvalidInputError, match=r"-t .* is not a duration"):
        parse_duration(text, "-t")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0),
        ("64000", 64_000),
        ("64kbit", 64_000),
        ("50m", 50_000_000),
        ("50Mbit", 50_000_000),
        ("1.5g", 1_500_000_000),
        (" 1gbit ", 10**9),
        ("800bit", 800),
        ("0.5", 1),
    ],
)
def test_rates(text, rate):
    assert parse_rate(text, "--net-rate-in") == rate


@pytest.mark.parametrize("text", ["", "fast", "bit", "50mbps", "50mib", "-1", "1_0m", "1e400g"])
def test_what_is_no_rate(text):
    with pytest.raises(InvalidInputError, match=r"is not a rate; .* such as 50m or 50mbit"):
        parse_rate(text, "--net-rate-in")
