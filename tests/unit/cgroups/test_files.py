import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import UNLIMITED, amount, files, pressure
from cgagent.cgroups.io import IoV1, IoV2
from cgagent.errors import (
    ConflictError,
    DeniedError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)

KEYS = st.from_regex(r"[a-z][a-z0-9_.]{0,15}", fullmatch=True)
COUNTS = st.integers(0, 2**64 - 1)


@given(st.dictionaries(KEYS, COUNTS))
def test_flat_files(values):
    text = "".join(f"{key} {value}\n" for key, value in values.items())
    parsed = files.flat(text)
    assert {key: files.value_of(parsed, key) for key in values} == values


@given(
    st.dictionaries(
        st.from_regex(r"\d{1,3}:\d{1,3}", fullmatch=True),
        st.dictionaries(KEYS, COUNTS, max_size=4),
        max_size=4,
    )
)
def test_nested_files(values):
    lines = (
        " ".join([key, *(f"{k}={v}" for k, v in pairs.items())]) for key, pairs in values.items()
    )
    parsed = files.nested("\n".join(lines))
    assert parsed == {key: {k: str(v) for k, v in pairs.items()} for key, pairs in values.items()}


def test_a_device_without_statistics_on_the_line_of_another():
    text = "7:0 7:1 254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"
    (device,) = IoV2("").usage([text])
    assert (device.device, device.rbytes, device.wios) == ("254:0", 1, 4)


def test_absent_files_are_none():
    assert files.number(None) is None
    assert amount.parse(None) is None
    assert files.flat(None) == {}
    assert files.value_of({}, "nr_periods") is None
    for meter in (IoV1(""), IoV2("")):
        assert meter.usage([None] * len(meter.paths())) is None


@given(st.integers(0, 2**62 - 1))
def test_amounts(value):
    assert amount.parse(f"{amount.spell(value)}\n") == value


@pytest.mark.parametrize("text", ["max\n", "-1\n", "9223372036854771712\n", "9223372036854710272"])
def test_unlimited_in_all_its_spellings(text):
    assert amount.parse(text) is UNLIMITED


def test_unlimited_is_spelled_as_the_file_wants_it():
    assert amount.spell(UNLIMITED) == "max"
    assert amount.spell(UNLIMITED, unlimited="-1") == "-1"


AVERAGES = st.integers(0, 10_000).map(lambda cent: cent / 100)


@given(AVERAGES, AVERAGES, AVERAGES, st.integers(0, 2**53))
def test_pressure(avg10, avg60, avg300, total_us):
    line = f"avg10={avg10:.2f} avg60={avg60:.2f} avg300={avg300:.2f} total={total_us}"
    psi = pressure.parse(f"some {line}\nfull {line}\n")
    assert psi.some == psi.full
    assert (psi.some.avg10, psi.some.avg60, psi.some.avg300) == (avg10, avg60, avg300)
    assert psi.some.total_ns == total_us * 1000
    assert pressure.parse(f"some {line}\n").full is None


def test_a_file_longer_than_one_read(tmp_path):
    text = "x" * 100_001
    (tmp_path / "long").write_text(text)
    assert files.read(f"{tmp_path}/long") == text


def test_reading_what_is_not_there_and_what_is_no_file(tmp_path):
    assert files.read(f"{tmp_path}/none") is None
    with pytest.raises(InternalError, match="cannot be read"):
        files.read(str(tmp_path))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, DeniedError),
        (errno.EROFS, DeniedError),
        (errno.ENOENT, NotFoundError),
        (errno.EBUSY, ConflictError),
        (errno.EINVAL, InvalidInputError),
        (errno.EOPNOTSUPP, UnsupportedError),
        (errno.EIO, InternalError),
    ],
)
def test_errors_of_the_kernel(number, kind):
    error = files.failure("a: cannot be b", OSError(number, os.strerror(number)))
    assert type(error) is kind
    assert error.message == f"a: cannot be b: {os.strerror(number).lower()}"
