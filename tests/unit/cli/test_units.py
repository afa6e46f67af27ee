import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cli.units import parse_duration, parse_size, show_age, show_size
from cgagent.errors import InvalidInputError

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
        (0, "0 seconds"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (86400 * 3, "3 days"),
    ],
)
def test_ages(seconds, text):
    assert show_age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("0", 0), ("1.5s", 1.5), ("2m", 120), ("1h", 3600)]
)
def test_durations(text, seconds):
    assert parse_duration(text, "-t") == seconds


@pytest.mark.parametrize("text", ["", "s", "soon", "-1", "nan", "inf", "1d", "1e99"])
def test_durations_that_are_none(text):
    with pytest.raises(InvalidInputError, match=r"-t .* is not a duration"):
        parse_duration(text, "-t")
